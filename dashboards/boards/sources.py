"""What the Charger board may be asked of."""

from boards.influxql import InfluxQL
from boards.promql import PromQL

Source = PromQL | InfluxQL
