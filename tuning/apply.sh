#!/usr/bin/env bash
# Tunes this host for the engine until the next reboot, and records every value it replaces so that restore.sh can put it back.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: apply.sh --cores LIST [--dry-run] [--state FILE] [--root DIR]

  --cores LIST   trading cores, such as 2-7 or 2,4,6; core 0 keeps house
  --dry-run      print what would change, change nothing
  --state FILE   where replaced values are recorded (default /run/hft-tuning/state)
  --root DIR     act on the tree below DIR instead of this host's

Run it as root. Running it again changes what is not yet as it should be and keeps the first recorded values.
Exit code 0 done, 1 something was refused, 2 usage.
TEXT
}

fail() {
    echo "apply.sh: $2" >&2
    exit "$1"
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root="" cores="" state="" dry_run=0 refused=0
# A core whose idle state takes longer than this to leave answers late.
exit_latency_us_max=2

# The numbers in a CPU list, one a line, sorted.
expand() {
    local part first last
    local -a parts
    IFS=, read -ra parts <<<"$1"
    for part in "${parts[@]}"; do
        [[ $part =~ ^([0-9]{1,4})(-([0-9]{1,4}))?$ ]] || fail 2 "CPU list '$1': expected numbers and ranges such as 2-7 or 2,4,6"
        first=$((10#${BASH_REMATCH[1]})) last=$((10#${BASH_REMATCH[3]:-${BASH_REMATCH[1]}}))
        ((first <= last)) || fail 2 "CPU list '$1': $part is no range"
        seq "$first" "$last"
    done | sort -nu
}

# Numbers, one a line, as a comma-separated list.
listed() { paste -sd, -; }

# Numbers, one a line, as the kernel writes a mask: 32-bit groups in hex, the highest first.
mask() {
    local core text="" top=0 group
    local -A groups=()
    while read -r core; do
        group=$((core / 32))
        groups[$group]=$((${groups[$group]:-0} | 1 << core % 32))
        ((group > top)) && top=$group
    done
    printf -v text %x "${groups[$top]:-0}"
    for ((group = top - 1; group >= 0; group--)); do
        printf -v text '%s,%08x' "$text" "${groups[$group]:-0}"
    done
    echo "$text"
}

# The value in effect: files such as `always [madvise] never` mark it with brackets.
current() {
    local text
    text=$(cat "$1" 2>/dev/null) || return 1
    [[ $text =~ \[([^]]+)\] ]] && text=${BASH_REMATCH[1]}
    printf '%s' "$text"
}

# A mask without its leading zeros and empty high groups.
bare_mask() {
    local text=$1
    while [[ $text == [0,]?* ]]; do text=${text#?}; done
    echo "$text"
}

# Whether two values of a kind mean the same.
same() {
    [[ $1 == "$2" ]] || [[ $3 == mask && $(bare_mask "$1") == "$(bare_mask "$2")" ]]
}

record() {
    cut -f2 "$state" 2>/dev/null | grep -qxF -- "$2" && return 1
    printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$state"
}

# set_value PATH VALUE [mask|strict|lenient]: absent files are skipped; `lenient` ones may refuse (per-CPU and managed interrupts).
set_value() {
    local path=$1 value=$2 kind=${3:-strict} old new_record=0
    old=$(current "$root$path") || return 0
    same "$old" "$value" "$kind" && return 0
    if ((dry_run)); then
        echo "would set $path: $old -> $value"
        return 0
    fi
    # Recorded first: a value that was changed but not recorded could never be put back.
    record value "$path" "$old" && new_record=1
    if { printf '%s\n' "$value" >"$root$path"; } 2>/dev/null; then
        echo "set $path: $old -> $value"
        return 0
    fi
    ((new_record)) && sed -i '$d' "$state"
    echo "refused $path: stays $old" >&2
    [[ $kind == lenient ]] || refused=1
}

# A file of ours that the host did not have.
create_file() {
    local path=$1 text=$2
    [[ -e $root$path ]] && return 0
    if ((dry_run)); then
        echo "would create $path"
        return 0
    fi
    record created "$path" "" || true
    mkdir -p "$(dirname "$root$path")"
    printf '%s\n' "$text" >"$root$path"
    echo "created $path"
}

apply_sysctls() {
    local name value
    while IFS='= ' read -r name value; do
        [[ -z $name || $name == \#* ]] || set_value "/proc/sys/${name//./\/}" "$value"
    done <"$here/sysctl.d/90-hft.conf"
}

apply_memory() {
    set_value /sys/kernel/mm/transparent_hugepage/enabled madvise
    set_value /sys/kernel/mm/transparent_hugepage/defrag madvise
    set_value /sys/kernel/mm/transparent_hugepage/khugepaged/defrag 0
    set_value /sys/kernel/mm/ksm/run 0
}

apply_cores() {
    local core state_folder latency_us cpu=/sys/devices/system/cpu
    for core in $trading; do
        set_value "$cpu/cpu$core/cpufreq/scaling_governor" performance
        set_value "$cpu/cpu$core/cpufreq/energy_performance_preference" performance
        for state_folder in "$root$cpu/cpu$core"/cpuidle/state*; do
            latency_us=$(cat "$state_folder/latency" 2>/dev/null) || continue
            ((latency_us <= exit_latency_us_max)) || set_value "${state_folder#"$root"}/disable" 1
        done
        set_value "/sys/kernel/debug/sched/fair_server/cpu$core/runtime" 0
    done
}

apply_interrupts() {
    local folder house_list
    house_list=$(listed <<<"$house")
    set_value /proc/irq/default_smp_affinity "$(mask <<<"$house")" mask
    set_value /sys/devices/virtual/workqueue/cpumask "$(mask <<<"$house")" mask
    for folder in "$root"/proc/irq/[0-9]*; do
        keeps_house "${folder#"$root"}" || set_value "${folder#"$root"}/smp_affinity_list" "$house_list" lenient
    done
    if [[ -e $root/lib/systemd/system/irqbalance.service ]]; then
        create_file /run/systemd/system/irqbalance.service.d/hft.conf \
            $'[Service]\nEnvironment=IRQBALANCE_BANNED_CPULIST='"$(listed <<<"$trading")"
    fi
}

# Whether an interrupt is already allowed on housekeeping cores only.
keeps_house() {
    local allowed
    allowed=$(cat "$root$1/smp_affinity_list" 2>/dev/null) && [[ -n $allowed ]] || return 0
    [[ -z $(comm -12 <(expand "$allowed" | sort) <(sort <<<"$trading")) ]]
}

# irqbalance reads its drop-in when it starts.
restart_irqbalance() {
    [[ -z $root && $dry_run == 0 ]] && command -v systemctl >/dev/null && [[ -d /run/systemd/system ]] || return 0
    systemctl daemon-reload
    systemctl try-restart irqbalance.service
}

parse_arguments() {
    while (($#)); do
        case $1 in
            --cores | --state | --root) (($# >= 2)) || fail 2 "$1 needs a value" ;;&
            --cores) cores=$2 && shift 2 ;;
            --state) state=$2 && shift 2 ;;
            --root) root=${2%/} && shift 2 ;;
            --dry-run) dry_run=1 && shift ;;
            --help) usage && exit 0 ;;
            *) usage >&2 && exit 2 ;;
        esac
    done
    [[ -n $cores ]] || { usage >&2 && exit 2; }
    state=${state:-$root/run/hft-tuning/state}
}

choose_cores() {
    local present
    present=$(cat "$root/sys/devices/system/cpu/present") || fail 1 "cannot read $root/sys/devices/system/cpu/present"
    trading=$(expand "$cores")
    present=$(expand "$present")
    [[ $(head -n1 <<<"$trading") != 0 ]] || fail 2 "core 0 keeps house: the kernel starts there and keeps the time there"
    [[ -z $(comm -13 <(sort <<<"$present") <(sort <<<"$trading")) ]] || fail 2 "cores $cores: this host has $(listed <<<"$present")"
    house=$(comm -23 <(sort <<<"$present") <(sort <<<"$trading") | sort -n)
    if smt_is_on; then refuse_siblings; fi
}

smt_is_on() { [[ $(current "$root/sys/devices/system/cpu/smt/control") == on ]]; }

# Switching SMT off takes every core's second thread away.
refuse_siblings() {
    local core siblings first
    for core in $trading; do
        siblings=$(cat "$root/sys/devices/system/cpu/cpu$core/topology/thread_siblings_list" 2>/dev/null) || continue
        first=$(expand "$siblings" | head -n1)
        [[ $first == "$core" ]] || fail 2 "core $core is the second thread of core $first, and SMT is to go off: name first threads only"
    done
}

open_state() {
    local header
    header="cores"$'\t'"$(listed <<<"$trading")"
    if [[ -s $state ]]; then
        [[ $(head -n1 "$state") == "$header" ]] ||
            fail 1 "$state was written for other cores ($(head -n1 "$state" | cut -f2)): run restore.sh first"
    elif ((!dry_run)); then
        mkdir -p "$(dirname "$state")"
        printf '%s\n' "$header" >"$state"
    fi
}

parse_arguments "$@"
choose_cores
open_state
# Siblings go first: what follows speaks of the cores that remain.
if smt_is_on; then set_value /sys/devices/system/cpu/smt/control off; fi
apply_sysctls
apply_memory
apply_cores
apply_interrupts
restart_irqbalance
exit "$refused"
