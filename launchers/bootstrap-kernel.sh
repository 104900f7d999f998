#!/bin/bash
# Start the kernel that the container's environment asks for: check the parameters, choose the
# launcher of the language, and replace this shell by it. The launcher then is the container's main
# process, so that signals reach it and its exit code is the container's.
#
# Exit codes (sysexits.h), each with one line on stderr:
#   64  a parameter is missing or malformed
#   69  this image has no launcher or no runtime for the language
#   70  the launcher failed before there was a kernel
#   78  encryption is required and not possible
#   anything else is the kernel's own
set -euo pipefail

readonly BAD_PARAMETER=64 NO_RUNTIME=69

say() {
  printf 'bootstrap-kernel: %s\n' "$1" >&2
}

fail() {
  say "$2"
  exit "$1"
}

# matches NAME VALUE REGEX MESSAGE: values are not shown, since some are secret
matches() {
  if [[ -z $2 ]]; then
    fail "$BAD_PARAMETER" "$1 is missing"
  elif [[ ! $2 =~ ^($3)$ ]]; then
    fail "$BAD_PARAMETER" "$1 is malformed: it must be $4"
  fi
}

# expand_environment: set the variables of a kernelspec's `env` that refer to others. The gateway sends NAME as
# KERNEL_EXPAND_NAME, because the values of the image are known only here. All refer to the values of the start; what is
# not set stays as it is, and $${ stands for ${. No value is evaluated.
expand_environment() {
  # shellcheck disable=SC2016 # as it is
  local -r _open='${'
  local _variable _rest _before _name _value
  local -a _expanded=()
  for _variable in "${!KERNEL_EXPAND_@}"; do
    _rest=${!_variable} _value=''
    while [[ $_rest == *"$_open"* ]]; do
      _before=${_rest%%"$_open"*} _rest=${_rest#*"$_open"}
      _name=${_rest%%'}'*}
      if [[ $_before == *'$' ]]; then
        _value+=${_before%'$'}$_open
      elif [[ $_name != "$_rest" && $_name =~ ^[A-Za-z_][A-Za-z0-9_]*$ && -v $_name && $_name != KERNEL_LAUNCH_KEY ]]; then
        _value+=$_before${!_name} _rest=${_rest#*'}'}
      else
        _value+=$_before$_open
      fi
    done
    _expanded+=("${_variable#KERNEL_EXPAND_}=$_value$_rest")
    unset "$_variable"
  done
  ((!${#_expanded[@]})) || export -- "${_expanded[@]}"
}

# find_limits ROOT: set cpu_limit (thousandths of a CPU) and memory_limit (bytes) to the limits of this container. Its
# cgroups, of version 2 or 1, are mounted at ROOT. Without a limit, the variable is empty.
find_limits() {
  local quota="" period="" bytes=""
  {
    read -r quota period <"$1/cpu.max" ||
      { read -r quota <"$1/cpu/cpu.cfs_quota_us" && read -r period <"$1/cpu/cpu.cfs_period_us"; } || :
    read -r bytes <"$1/memory.max" || read -r bytes <"$1/memory/memory.limit_in_bytes" || :
  } 2>/dev/null
  cpu_limit="" memory_limit=""
  if [[ $quota =~ ^[1-9][0-9]{0,11}$ && $period =~ ^[1-9][0-9]{0,11}$ ]]; then
    cpu_limit=$(((quota * 1000 + period / 2) / period))
  fi
  # Without a limit, it is `max` or, in version 1, a number of 19 digits.
  if [[ $bytes =~ ^[1-9][0-9]{0,17}$ ]]; then
    memory_limit=$bytes
  fi
}

# export_limits ROOT: let libraries know the container's limits. They would start a thread for each CPU of the node, which
# a limit on CPUs then makes wait for each other. What the image, the kernelspec or the user has set stays as it is, even
# if it is empty.
export_limits() {
  local cpu_limit memory_limit variable threads cpus
  find_limits "$1"
  [[ -z $memory_limit ]] || export_default MEM_LIMIT "$memory_limit"
  [[ -n $cpu_limit && $cpu_limit != 0 ]] || return 0
  # As JupyterHub writes it: 0.25, 1.5, 2.0.
  printf -v cpus '%d.%03d' $((cpu_limit / 1000)) $((cpu_limit % 1000))
  while [[ $cpus == *[0-9]0 ]]; do cpus=${cpus%0}; done
  export_default CPU_LIMIT "$cpus"
  threads=$(((cpu_limit + 999) / 1000))
  # The limit may be more than the node has.
  cpus=$(unset OMP_NUM_THREADS OMP_THREAD_LIMIT && nproc 2>/dev/null) || :
  if [[ $cpus =~ ^[1-9][0-9]*$ ]] && ((cpus < threads)); then
    threads=$cpus
  fi
  # OpenBLAS, MKL, BLIS, NumExpr, PyTorch and R's data.table have variables of their own too, and follow that of OpenMP
  # without them: to set those as well would override an image's OMP_NUM_THREADS.
  for variable in OMP_NUM_THREADS NUMBA_NUM_THREADS TF_NUM_INTRAOP_THREADS TF_NUM_INTEROP_THREADS PYTHON_CPU_COUNT; do
    export_default "$variable" "$threads"
  done
}

# export_default NAME VALUE: export it, unless there is a variable of this name
export_default() {
  [[ -v $1 ]] || export "$1=$2"
}

check_port_range() {
  matches PORT_RANGE "$port_range" '[0-9]{1,5}\.\.[0-9]{1,5}' 'LOWEST..HIGHEST or 0..0'
  matches MIN_PORT_RANGE_SIZE "$min_port_range_size" '0*[1-9][0-9]{0,4}' 'a number of ports'
  local -r lowest=$((10#${port_range%%..*})) highest=$((10#${port_range##*..}))
  if ((lowest == 0 && highest == 0)); then
    return
  elif ((lowest < 1024 || highest > 65535 || lowest > highest)); then
    fail "$BAD_PARAMETER" 'PORT_RANGE must lie within 1024..65535, or be 0..0'
  elif ((highest - lowest < 10#$min_port_range_size)); then
    fail "$BAD_PARAMETER" \
      "PORT_RANGE must span at least $min_port_range_size ports (MIN_PORT_RANGE_SIZE)"
  fi
}

check_parameters() {
  matches KERNEL_LANGUAGE "$language" '[a-z][a-z0-9+#._-]{0,31}' \
    'python, r, scala or the name of another launcher'
  matches KERNEL_ID "$kernel_id" '[A-Za-z0-9]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?' 'a kernel id'
  matches RESPONSE_ADDRESS "$response_address" \
    '(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}' 'HOST:PORT'
  local -r port=$((10#${response_address##*:}))
  ((port >= 1 && port <= 65535)) ||
    fail "$BAD_PARAMETER" 'RESPONSE_ADDRESS is malformed: its port must be within 1..65535'
  matches PUBLIC_KEY "$public_key" '[A-Za-z0-9+/]{64,}={0,2}' 'a base64 encoded public key'
  matches KERNEL_SPARK_CONTEXT_INIT_MODE "$init_mode" 'none|lazy|eager' 'none, lazy or eager'
  if [[ -n ${KERNEL_LAUNCH_KEY:-} ]]; then
    matches KERNEL_LAUNCH_KEY "$KERNEL_LAUNCH_KEY" '[A-Za-z0-9+/]{43}=' '32 bytes, base64 encoded'
  fi
  check_port_range
}

# find_home: keep HOME if it can be written to, or else make one where temporary files go. The cluster may run an image
# as another user than it was made for.
find_home() {
  export HOME=${HOME:-~}
  local -r image_home=$HOME
  local parent
  if [[ $image_home != / && -d $image_home && -w $image_home && -x $image_home ]]; then
    return
  fi
  for parent in "${TMPDIR:-/tmp}" /tmp /var/tmp; do
    # One of an earlier start is used again, but not what another user has put there.
    HOME=$parent/home-$UID
    if mkdir -m 0700 -- "$HOME" 2>/dev/null || [[ -d $HOME && ! -L $HOME && -O $HOME && -w $HOME ]]; then
      say "HOME is $HOME, because '$image_home' cannot be written to"
      return
    fi
  done
  HOME=$image_home
  say "HOME is '$HOME', which cannot be written to, and neither can /tmp: mount a volume there"
}

# find_account: give the user id a name if it has none, because programs ask for it. Sets has_account.
find_account() {
  local name uid
  has_account=yes
  while IFS=: read -r name _ uid _; do
    [[ $uid == "$UID" ]] && return
  done 2>/dev/null </etc/passwd || :
  if id -un &>/dev/null; then # LDAP, for one
    return
  fi
  local -r entry="user$UID:x:$UID:${GROUPS[0]}::$HOME:/bin/bash"
  export USER=${USER:-user$UID}
  export LOGNAME=${LOGNAME:-$USER}
  # `name` is what follows the last end of a line.
  if [[ -w /etc/passwd ]] && printf '%s%s\n' "${name:+$'\n'}" "$entry" >>/etc/passwd; then
    say "user $UID has no account in this image: added user$UID to /etc/passwd"
  elif name_by_wrapper "$entry"; then
    say "user $UID has no account in this image: libnss_wrapper gives it the name user$UID"
  else
    has_account=
    say "user $UID has no account in this image: its name is in USER and LOGNAME only"
  fi
}

# name_by_wrapper ENTRY: have libnss_wrapper answer with ENTRY, if the image has it
name_by_wrapper() {
  local library
  for library in /usr/lib/*-linux-gnu/libnss_wrapper.so /usr/lib64/libnss_wrapper.so /usr/lib/libnss_wrapper.so; do
    if [[ -r $library && -w $HOME ]]; then
      printf '%s\n' "$(cat /etc/passwd 2>/dev/null)" "$1" >"$HOME/.passwd" || return
      export NSS_WRAPPER_PASSWD=$HOME/.passwd NSS_WRAPPER_GROUP=/etc/group
      export LD_PRELOAD=$library${LD_PRELOAD:+:$LD_PRELOAD}
      return
    fi
  done
  return 1
}

# launcher RELATIVE_PATH...: set REPLY to the first of them that exists
launcher() {
  local path
  for path in "$@"; do
    if [[ -r $launchers_dir/$path ]]; then
      REPLY=$launchers_dir/$path
      return
    fi
  done
  case $language in
    python | r | scala)
      fail "$NO_RUNTIME" "no launcher for '$language' in $launchers_dir: this image needs\
 'jupyter image-bootstrap install --languages $language'"
      ;;
    *)
      fail "$NO_RUNTIME" "no launcher for '$language': use python, r or scala, or add the program\
 $launchers_dir/$1 to this image"
      ;;
  esac
}

# runtime PROGRAM...: set REPLY to the first of them that can be run; `hash` searches PATH
runtime() {
  for REPLY in "$@"; do
    if [[ $REPLY == */* ]]; then
      [[ -x $REPLY ]] && return
    elif hash -- "$REPLY" 2>/dev/null; then
      return
    fi
  done
  fail "$NO_RUNTIME" "no runtime for '$language' in this image: $1 is not in PATH"
}

exec_python() {
  launcher python/scripts/launch_ipykernel.py
  local -r script=$REPLY
  runtime python python3
  unset PYTHONINSPECT # it would lose the exit code
  # Python would only say that a module of its own is missing.
  [[ -z ${PYTHONHOME:-} ]] || compgen -G "${PYTHONHOME%%:*}/lib*/python3*/" >/dev/null ||
    fail "$NO_RUNTIME" "PYTHONHOME is '$PYTHONHOME', which holds no Python: remove the variable"
  if [[ -n ${KERNEL_CLASS_NAME:-} ]]; then
    arguments+=(--kernel-class-name "$KERNEL_CLASS_NAME")
  fi
  local -r encryption=${KERNEL_TRANSPORT_ENCRYPTION:-${TRANSPORT_ENCRYPTION:-}}
  if [[ -n $encryption ]]; then
    arguments+=(--transport-encryption "$encryption")
  fi
  exec -- "$REPLY" "$script" "${arguments[@]}"
}

exec_r() {
  launcher r/scripts/launch_IRkernel.R R/scripts/launch_IRkernel.R
  local -r script=$REPLY
  runtime Rscript
  become "$REPLY" "$script" "${arguments[@]}"
}

# become COMMAND...: replace this shell by a launcher that needs an init above it
become() {
  if (($$ == 1)); then
    run_below "$@"
  fi
  exec -- "$@"
}

# run_below COMMAND...: be the init that an image without tini lacks. R and Java rely on the system to end
# them on SIGTERM and to reap orphans, which it does not do for a container's first process.
run_below() {
  local signal pid="" early=""
  for signal in HUP INT QUIT TERM USR1 USR2; do
    # Before the process starts: without a handler, a container's first process loses a signal.
    # shellcheck disable=SC2064 # the name now, the process later
    trap "pass_on $signal" "$signal"
  done
  setsid -- "$@" & # a process group of its own
  pid=$!
  [[ -z $early ]] || pass_on "$early"
  while
    local code=0
    wait "$pid" || code=$?
    kill -s 0 "$pid" 2>/dev/null
  do :; done # a signal interrupts the waiting
  exit "$code"
}

# pass_on SIGNAL: send it to the process group of run_below, or to the process that is about to lead it
pass_on() {
  if [[ -z $pid ]]; then
    early=$1
    return
  fi
  kill -s "$1" -- "-$pid" 2>/dev/null || kill -s "$1" "$pid" 2>/dev/null || :
}

# pip_folder PACKAGE: print where pip has installed it, or nothing
pip_folder() {
  local python
  for python in python python3; do
    if hash -- "$python" 2>/dev/null; then
      "$python" -c 'import importlib.util as u, sys; print(u.find_spec(sys.argv[1]).submodule_search_locations[0])' \
        "$1" 2>/dev/null || true
      return
    fi
  done
}

# SPARK_HOME and TOREE_HOME are where an image has them; the default is where pip installed pyspark and
# toree. The launcher is a small JVM beside that of Spark, which sees neither its memory nor its keys.
exec_scala() {
  launcher scala/lib/toree-launcher.jar
  local -r jar=$REPLY
  export SPARK_HOME=${SPARK_HOME:-$(pip_folder pyspark)}
  local -r toree=${TOREE_HOME:-$(pip_folder toree)}
  local -a library=("$SPARK_HOME"/jars/scala-library-2.12.*.jar) assembly=("$toree"/lib/toree-assembly-*.jar)
  [[ -r ${library[0]} ]] ||
    fail "$NO_RUNTIME" "no runtime for 'scala' in this image: SPARK_HOME is '$SPARK_HOME' and holds no Spark\
 for Scala 2.12"
  [[ -r ${assembly[0]} ]] ||
    fail "$NO_RUNTIME" "no runtime for 'scala' in this image: TOREE_HOME is '$toree' and holds no Toree"
  if [[ -x ${JAVA_HOME:-/nonexistent}/bin/java ]]; then
    REPLY=$JAVA_HOME/bin/java
  else
    runtime java
  fi
  [[ $has_account ]] ||
    fail "$NO_RUNTIME" "user $UID has no account in this image, which Spark needs: add a line to /etc/passwd"
  become "$REPLY" -Xmx32m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jar:${library[0]}" \
    launcher.ToreeLauncher --toree-assembly "${assembly[0]}" "${arguments[@]}"
}

# Another language: its launcher is a program and looks for its runtime itself.
exec_own() {
  launcher "$language/launch"
  [[ -x $REPLY ]] ||
    fail "$NO_RUNTIME" "$REPLY cannot be executed: run 'chmod 0755', and begin it with a line such as '#!/bin/sh'"
  exec -- "$REPLY" "${arguments[@]}"
}

expand_environment
# Enterprise Gateway sets the names with EG_. KERNEL_LAUNCHERS_DIR is the image's or the kernelspec's: the gateway
# drops a client's value.
[[ ${BASH_SOURCE[0]} == */* ]] && here=${BASH_SOURCE[0]%/*} || here=.
launchers_dir=${KERNEL_LAUNCHERS_DIR:-$here/kernel-launchers}
language=${KERNEL_LANGUAGE:-}
language=${language,,}
kernel_id=${KERNEL_ID:-}
response_address=${RESPONSE_ADDRESS:-${EG_RESPONSE_ADDRESS:-}}
public_key=${PUBLIC_KEY:-${EG_PUBLIC_KEY:-}}
port_range=${PORT_RANGE:-${EG_PORT_RANGE:-0..0}}
min_port_range_size=${MIN_PORT_RANGE_SIZE:-1000}
init_mode=${KERNEL_SPARK_CONTEXT_INIT_MODE:-none}
init_mode=${init_mode,,}

check_parameters
export_limits /sys/fs/cgroup
find_home
find_account
arguments=(
  --kernel-id "$kernel_id"
  --port-range "$port_range"
  --response-address "$response_address"
  --public-key "$public_key"
  --spark-context-initialization-mode "$init_mode"
)
case $language in
  python) exec_python ;;
  r) exec_r ;;
  scala) exec_scala ;;
  *) exec_own ;;
esac
