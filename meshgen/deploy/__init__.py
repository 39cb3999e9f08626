"""Where a mesh runs: as processes of this machine, or by an orchestrator."""
