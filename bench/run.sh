#!/bin/sh
# Measures what bench/RESULTS.md lists.
#   bench/run.sh boot [RUNS]       time to a Debian shell, recording, against QEMU's TCG
#   bench/run.sh record [RUNS]     the same boot, recording on against off, 15 pairs
#   bench/run.sh memory [RUNS]     resident size over guest memory at the prompt
#   bench/run.sh exitpath          an exit to its committed record: time, allocation
#   bench/run.sh clock             a read of the clock that times records: nanoTime, TSC
#   bench/run.sh decoder           an instruction of the guest's kernel
#   bench/run.sh interpreter       MIPS inside the guest, on small loops
#   bench/run.sh refeed [TRACE]    records a second; records a boot where no TRACE is given
#   bench/run.sh exitsoff          an exit of a kind that is not recorded
#   bench/run.sh recorder [SECONDS]     records a second through the recorder
#   bench/run.sh durability [SECONDS]   the same with each --durability
#   bench/run.sh latency [SECONDS] [RATE]  from an exit to ring and queue, against LTTng-UST, perf
#                                  and ftrace where they are (Debian: gcc lttng-tools
#                                  liblttng-ust-dev linux-perf; perf and ftrace as root)
#   bench/run.sh reader [TRACE]    the same without the checks: reading alone
#   bench/run.sh seek [GIB]        dump at the end of a long trace; the limit is a second
#   bench/run.sh kvm [BATCHES [OPERATION...]]   an exit's round trip on KVM (out, in, mmio_read,
#                                  mmio_write, hlt), against a C program (needs cc)
#   bench/run.sh injection [kvm|soft]   an interrupt's request to its injection
#   bench/run.sh all               all of these
#   bench/run.sh jmh [ARGUMENTS]   JMH with its own arguments: a pattern, -prof gc, -h
# Exit status 1 where boot, record, memory, seek or kvm misses its limit. The guest is debian-12-cloud,
# fetched where it is not in the cache; boot needs qemu-system-x86_64 (Debian: qemu-system-x86).
set -eu

root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
guest=debian-12-cloud
prompt='vmexit:/root# '

usage() {
  sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"
}

fail() {
  echo "bench: $*" >&2
  exit 1
}

[ $# -gt 0 ] || { usage; exit 2; }

on_path=$(command -v java || true)
[ -z "$on_path" ] || on_path=$(dirname "$(dirname "$(readlink -f "$on_path")")")
version=
for home in "${VMEXIT_JAVA_HOME:-}" "${JAVA_HOME:-}" "$on_path" /usr/lib/jvm/* /opt/java/* /opt/jdk*; do
  [ -r "$home/release" ] || continue
  version=$(sed -n 's/^JAVA_VERSION="\([0-9]*\).*/\1/p' "$home/release")
  [ "${version:-0}" -ge 25 ] && break
  version=
done
[ -n "$version" ] || fail "no JDK 25 or newer found; name its folder in VMEXIT_JAVA_HOME"

target=$root/bench/target

# The jar of the build; nothing where there is none or a source is newer.
built() {
  for jar in "$target"/vmexit-bench-*.jar; do
    [ -e "$jar" ] && [ -d "$target/lib" ] || return 0
    changed=$(cd "$root" && find pom.xml ./*/pom.xml ./*/src/main -newer "$jar" -type f | head -n 1)
    [ -n "$changed" ] || echo "$jar"
    return 0
  done
}

jar=$(built)
if [ -z "$jar" ]; then
  echo "bench: building" >&2
  (cd "$root" && mvn --batch-mode -q -DskipTests package) >&2 || fail "the build failed"
  jar=$(built)
  [ -n "$jar" ] || fail "the build left no jar in $target"
fi

java() {
  "$home/bin/java" "@$root/.mvn/jvm.flags" -cp "$jar:$target/lib/*" "$@"
}

guest_folder() {
  "$root/vmexit" guest fetch "$guest" | sed 's/^.*: //'
}

side_by_side() {
  what=$1
  shift
  java dev.vmexit.bench.SideBySide "$what" "$root" "$(guest_folder)" "$@"
}

jmh() {
  java org.openjdk.jmh.Main "$@"
}

# of_trace BENCHMARK [TRACE]
of_trace() {
  benchmark=$1
  shift
  if [ $# -gt 0 ]; then
    jmh "$benchmark" -jvmArgsAppend "-Dvmexit.trace=$(readlink -f "$1")"
    return
  fi
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  "$root/vmexit" run "$guest" --record "$folder/trace" --exit-on "$prompt" </dev/null >/dev/null
  jmh "$benchmark" -jvmArgsAppend "-Dvmexit.trace=$folder/trace"
}

# A trace of 10 GiB, or as asked, in TMPDIR; the last exits by number, instructions and time.
seek() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  places=$(java dev.vmexit.bench.LongTrace "$folder/trace" "${1:-10}")
  status=0
  for place in $places; do
    start=$(date +%s%N)
    "$root/vmexit" dump "$folder/trace" --from "$place" >"$folder/lines"
    millis=$((($(date +%s%N) - start) / 1000000))
    echo "dump --from $place: $millis ms, $(wc -l <"$folder/lines") exits"
    [ "$millis" -lt 1000 ] || status=1
  done
  return $status
}

# One measurement of RecorderRun, in a folder of its own beside the build.
recorder_run() {
  what=$1
  shift
  folder=$(mktemp -d "$target/recorder.XXXXXX")
  status=0
  java dev.vmexit.bench.RecorderRun "$what" "$folder" "$@" || status=$?
  rm -rf "$folder"
  return $status
}

# Latencies of other recorders under the same load, as far as they are installed.
peers() {
  command -v gcc >/dev/null || { echo "bench: no gcc, so no peers" >&2; return 0; }
  folder=$(mktemp -d "$target/peers.XXXXXX")
  source=$root/bench/src/main/c
  if echo '#include <lttng/tracepoint.h>' | gcc -E - >/dev/null 2>&1 && command -v lttng >/dev/null
  then
    gcc -O2 -DWITH_LTTNG -I "$source" -o "$folder/peers" "$source/peers.c" -llttng-ust -ldl
    export LTTNG_HOME="$folder"
    lttng-sessiond --background --pidfile "$folder/sessiond.pid" >/dev/null 2>&1
    lttng create vmexit-bench --output "$folder/lttng" >/dev/null
    lttng enable-event --userspace vmexit_bench:exit >/dev/null
    lttng start >/dev/null
    "$folder/peers" lttng "$1" "$2" LTTng-UST
    lttng destroy vmexit-bench >/dev/null
    kill "$(cat "$folder/sessiond.pid")"
  else
    echo "bench: no lttng-tools or liblttng-ust-dev: not compared with LTTng-UST" >&2
    gcc -O2 -o "$folder/peers" "$source/peers.c"
  fi
  "$folder/peers" syscall "$1" "$2" getppid
  traced=events/syscalls/sys_enter_getppid
  tracefs=/sys/kernel/tracing
  if [ -w "$tracefs/instances" ] && mkdir "$tracefs/instances/vmexit-bench" 2>/dev/null; then
    echo 1 >"$tracefs/instances/vmexit-bench/$traced/enable"
    "$folder/peers" syscall "$1" "$2" "getppid, ftrace"
    rmdir "$tracefs/instances/vmexit-bench"
  else
    echo "bench: no tracefs to write to: not compared with ftrace (be root)" >&2
  fi
  if perf stat -e syscalls:sys_enter_getppid true >/dev/null 2>&1; then
    perf record -q -e syscalls:sys_enter_getppid -o "$folder/perf" \
      "$folder/peers" syscall "$1" "$2" "getppid, perf"
  else
    echo "bench: no perf, or not allowed: not compared with it" >&2
  fi
  rm -rf "$folder"
}

command=$1
shift
case $command in
  boot | record | memory) side_by_side "$command" "$@" ;;
  exitpath) jmh ExitPathBenchmark -prof gc "$@" ;;
  clock) jmh ClockBenchmark "$@" ;;
  decoder) jmh DecoderBenchmark -p "code=$(guest_folder)/vmlinuz" "$@" ;;
  interpreter) jmh InterpreterBenchmark "$@" ;;
  refeed) of_trace ReplayBenchmark.replay "$@" ;;
  reader) of_trace ReplayBenchmark.read "$@" ;;
  seek) seek "$@" ;;
  exitsoff) jmh UnwantedExitBenchmark "$@" ;;
  recorder) recorder_run throughput "${1:-30}" none ;;
  durability)
    for when in none interval batch; do
      recorder_run throughput "${1:-20}" "$when"
    done
    ;;
  latency)
    recorder_run latency "${1:-20}" "${2:-500000}"
    peers "${1:-20}" "${2:-500000}"
    ;;
  kvm) java dev.vmexit.bench.KvmRoundTrip "$root/bench/src/main/c/kvm_loop.c" "$@" ;;
  injection) java dev.vmexit.bench.InterruptLatency "${1:-soft}" ;;
  jmh) jmh "$@" ;;
  all)
    status=0
    for what in boot record memory exitpath exitsoff recorder durability latency decoder \
      interpreter refeed reader seek kvm injection; do
      echo "== $what"
      "$0" $what || status=1
    done
    exit $status
    ;;
  *)
    usage >&2
    exit 2
    ;;
esac
