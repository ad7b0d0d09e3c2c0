#!/bin/bash
# Writes the configuration samples of etc/nova/; with --check, says which are not current.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
status=0
for config in etc/nova/*-config-generator.conf; do
    name=$(sed -n 's/^output_file *= *etc\/nova\///p' "$config")
    oslo-config-generator --config-file "$config" --output-file "$made/$name" 2>"$made/errors" || {
        cat "$made/errors" >&2
        exit 1
    }
    if [ "${1:-}" != --check ]; then
        cp "$made/$name" "etc/nova/$name"
    elif ! diff -u "etc/nova/$name" "$made/$name"; then
        echo "etc/nova/$name is not current: run tools/samples.sh" >&2
        status=1
    fi
done
exit $status
