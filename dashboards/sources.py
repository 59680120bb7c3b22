"""What the Charger board may be asked of."""

from influxql import InfluxQL
from promql import PromQL

Source = PromQL | InfluxQL
