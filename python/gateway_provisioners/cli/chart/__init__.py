"""The chart's own programs: `helm test`, and the Job that waits for pre-pulled images."""
