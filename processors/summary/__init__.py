"""From a closed job to a finished one."""
