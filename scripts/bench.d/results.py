"""What was measured, kept in the cache after every single run, so that an interrupted measurement loses nothing."""

import json
import os
import time


class Results:
    """Records by measurement: flat objects, with the commit and the date of each."""

    def __init__(self, path, machine, commit):
        self.path, self.machine, self.commit = path, machine, commit
        self.records = {}

    def read(self):
        """Takes up what was kept, if it is of this machine."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if kept.get("machine") == self.machine:
            self.records = kept.get("records", {})

    def forget(self, measurement):
        self.records.pop(measurement, None)

    def keep(self, measurement, record):
        record = {**record, "commit": self.commit, "date": time.strftime("%Y-%m-%d")}
        self.records.setdefault(measurement, []).append(record)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps({"machine": self.machine, "records": self.records}), encoding="utf-8")
        partial.replace(self.path)

    def of(self, measurement):
        return self.records.get(measurement, [])

    def span(self, key, measurements):
        """All commits, or dates, of these measurements, in the order they came."""
        return list(dict.fromkeys(r[key] for name in measurements for r in self.of(name)))
