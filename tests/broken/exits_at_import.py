"""A module that is imported must not end the program.

error: exits_at_import raised SystemExit while it was imported; correct that and try again:

Traceback (most recent call last):
  File "tests/broken/exits_at_import.py", line 13, in <module>
    sys.exit("no configuration")
SystemExit: no configuration
"""

import sys

sys.exit("no configuration")
