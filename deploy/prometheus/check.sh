#!/bin/sh
# Check an archive and write the result for the node exporter's textfile collector:
#   check.sh my-forecast /var/lib/node_exporter/textfile
# Run it from a timer, every ten minutes.
set -u
dataset="$1"
folder="$2"

gridmill status "$dataset" --check --grace 30min >/dev/null
status=$?

# Renamed when it is whole: the collector may read at any moment.
unfinished="$(mktemp "$folder/gridmill-XXXXXX")"
cat >"$unfinished" <<END
# HELP gridmill_archive_status Exit code of gridmill status --check: 0 is current, 6 late, 8 has gaps.
# TYPE gridmill_archive_status gauge
gridmill_archive_status{dataset="$dataset"} $status
# HELP gridmill_archive_checked_timestamp_seconds When it was checked.
# TYPE gridmill_archive_checked_timestamp_seconds gauge
gridmill_archive_checked_timestamp_seconds{dataset="$dataset"} $(date +%s)
END
chmod 644 "$unfinished"
mv "$unfinished" "$folder/gridmill-$dataset.prom"
