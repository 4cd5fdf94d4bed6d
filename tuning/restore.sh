#!/usr/bin/env bash
# Puts back every value that apply.sh replaced, the last one first, and forgets them.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: restore.sh [--dry-run] [--state FILE] [--root DIR]

  --dry-run      print what would change, change nothing
  --state FILE   what apply.sh recorded (default /run/hft-tuning/state)
  --root DIR     act on the tree below DIR instead of this host's

Run it as root. Exit code 0 done or nothing to do, 1 something was refused and stays recorded, 2 usage.
TEXT
}

root="" state="" dry_run=0

parse_arguments() {
    while (($#)); do
        case $1 in
            --state | --root) (($# >= 2)) || { usage >&2 && exit 2; } ;;&
            --state) state=$2 && shift 2 ;;
            --root) root=${2%/} && shift 2 ;;
            --dry-run) dry_run=1 && shift ;;
            --help) usage && exit 0 ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    state=${state:-$root/run/hft-tuning/state}
}

# put_back KIND PATH OLD
put_back() {
    case $1 in
        value) { printf '%s\n' "$3" >"$root$2"; } 2>/dev/null ;;
        created) rm -f "$root$2" && { rmdir "$(dirname "$root$2")" 2>/dev/null || true; } ;;
        *) return 1 ;;
    esac
}

restore_all() {
    local kind path old kept=""
    while IFS=$'\t' read -r kind path old; do
        if ((dry_run)); then
            echo "would restore $path: ${old:-remove}"
        elif [[ $kind == value && ! -e $root$path ]]; then
            echo "gone $path: was $old"
        elif put_back "$kind" "$path" "$old"; then
            echo "restored $path: ${old:-removed}"
        else
            echo "refused $path: expected $old" >&2
            kept=$kind$'\t'$path$'\t'$old$'\n'$kept
        fi
    done < <(tail -n +2 "$state" | tac)
    ((dry_run)) && return 0
    if [[ -n $kept ]]; then
        printf '%s\n%s' "$(head -n1 "$state")" "$kept" >"$state.new"
        mv "$state.new" "$state"
        return 1
    fi
    rm "$state"
    rmdir "$(dirname "$state")" 2>/dev/null || true
}

# irqbalance reads its drop-in when it starts.
restart_irqbalance() {
    [[ -z $root && $dry_run == 0 ]] && command -v systemctl >/dev/null && [[ -d /run/systemd/system ]] || return 0
    systemctl daemon-reload
    systemctl try-restart irqbalance.service
}

parse_arguments "$@"
if [[ ! -s $state ]]; then
    echo "nothing to restore: $state is absent"
    exit 0
fi
status=0
restore_all || status=1
restart_irqbalance
exit "$status"
