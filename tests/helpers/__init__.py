"""What tests share: processes and servers, simulated houses and sites, and what reads boards and rules."""
