# What the clients share; sourced by scripts/clients and by run-step.
# A client's file defines: install, version, setup (optional), cases=("name<TAB>title" ...) and a case_<name>
# each. A case has REGISTRY (host:port), REPO, IMAGE ($REGISTRY/$REPO) and an empty working folder.
# shellcheck shell=bash

layer_bytes=100000000
small_layers=40
small_bytes=50000

setup() { :; }
# Without a registry that wants a login (--registry) there is nothing to log in to.
list_cases() { printf '%b\n' "${cases[@]}" | if [[ -n ${SECURED:-} ]]; then cat; else grep -v '^login'; fi; }

# The user of the registry at $SECURED; the entry is what `htpasswd -nbB` prints for it.
login_user=ci
login_password=correct-horse
# shellcheck disable=SC2016,SC2034
login_entry='ci:$2a$05$frOY7/z7o5/hKe1CwmXvseWuKJTPFSyGTsTeeh6HX4JdOWVrw47FC'

# run COMMAND...: runs a program, not a function of that name, and leaves the command line in the log.
run() {
  echo "+ ${*@Q}" >&2
  command "$@"
}

fail() {
  echo "$*" >&2
  return 1
}

equal() { [[ $1 == "$2" ]] || fail "${3:-values differ}: want '$1', have '$2'"; }

# refused COMMAND...: the command must fail. (A plain ! would switch set -e off.)
refused() {
  if "$@"; then fail "succeeded, should have failed: $*"; fi
}

# --- installing

as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

need_root() { ((EUID == 0)) || fail "$CLIENT starts a daemon or changes owners: run the script as root"; }

# debian PROGRAM PACKAGE...: installs the packages where the program is missing. (command -v would find the
# function of that name.)
debian() {
  if type -P "$1" >/dev/null; then return; fi
  if [[ ! -e $WORK/apt-updated ]]; then
    as_root apt-get update
    touch "$WORK/apt-updated"
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${@:2}"
  type -P "$1" >/dev/null || fail "no $1 after installing ${*:2}"
}

# debian_version PACKAGE: fails where the program came from elsewhere.
debian_version() {
  dpkg-query --showformat '${Status} ${Version}\n' --show "$1" 2>/dev/null | sed -n 's/^install ok installed //p' | grep .
}

need_programs() {
  local program
  for program in "$@"; do debian "$program" "$program"; done
}

# go_version PROGRAM: the module version that a Go binary in $BIN was built from.
go_version() { go version -m "$BIN/$1" 2>/dev/null | awk '$1 == "mod" { print $3 }'; }

# go_tool PACKAGE VERSION: installs a Go program in $BIN unless that version is there.
go_tool() {
  local program=${1##*/}
  if [[ $(go_version "$program") == "$2" ]]; then return; fi
  (cd / && GOBIN=$BIN GOFLAGS='' go install -trimpath -ldflags '-s -w' "$1@$2")
  equal "$2" "$(go_version "$program")" "version of $program"
}

# --- daemons

free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    # Nobody listens if the connection is refused.
    if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      return
    fi
  done
}

# start_daemon NAME COMMAND...: a session of its own, so that a case's timeout does not end it.
start_daemon() {
  local name=$1
  shift
  setsid "$@" >"$WORK/logs/daemon.$name" 2>&1 </dev/null &
  echo $! >"$WORK/pids/$name"
}

# wait_for SECONDS DAEMON COMMAND...: until the command succeeds, the daemon is gone, or time is up.
wait_for() {
  local until=$((SECONDS + $1)) pid
  pid=$(<"$WORK/pids/$2")
  shift 2
  while ((SECONDS < until)); do
    if "$@" >/dev/null 2>&1; then return 0; fi
    kill -0 "$pid" 2>/dev/null || return 1
    sleep 0.2
  done
  return 1
}

# stop_daemons [PREFIX]: ends the daemons whose name begins so; by the ids this run wrote, no others.
stop_daemons() {
  local file pid
  for file in "$WORK/pids/${1:-}"*; do
    [[ -e $file ]] || continue
    pid=$(<"$file")
    rm -f "$file"
    kill "$pid" 2>/dev/null || continue
    for _ in {1..100}; do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

# remove_tree DIR: daemons leave mounts behind, which would keep the folder alive.
remove_tree() {
  local mount
  awk -v dir="$1/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r |
    while read -r mount; do umount -l "$mount" || true; done
  rm -rf "$1"
}

# --- content

sha256() { sha256sum "$@" | cut -d ' ' -f 1; }

random_file() { head -c "$2" /dev/urandom >"$1"; }

# put_blob LAYOUT FILE: moves a file into an OCI layout and prints its digest.
put_blob() {
  local hex
  hex=$(sha256 "$2")
  mv "$2" "$1/blobs/sha256/$hex"
  echo "sha256:$hex"
}

# put_image LAYOUT ARCH LAYERS BYTES: adds an image of random layers and prints its descriptor.
put_image() {
  local layout=$1 tmp diffs=() layers=() i digest size config
  tmp=$(mktemp -d)
  for ((i = 1; i <= $3; i++)); do
    random_file "$tmp/payload-$i" "$4"
    tar -C "$tmp" --owner=0 --group=0 --mtime=@0 -cf "$tmp/layer" "payload-$i"
    diffs+=("sha256:$(sha256 "$tmp/layer")")
    gzip -1 -n "$tmp/layer"
    size=$(stat -c %s "$tmp/layer.gz")
    digest=$(put_blob "$layout" "$tmp/layer.gz")
    layers+=("{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"$digest\",\"size\":$size}")
    rm "$tmp/payload-$i"
  done
  jq -cn --arg arch "$2" '{architecture: $arch, os: "linux", config: {Cmd: ["/payload-1"]},
    rootfs: {type: "layers", diff_ids: $ARGS.positional}}' --args "${diffs[@]}" >"$tmp/config"
  size=$(stat -c %s "$tmp/config")
  config=$(put_blob "$layout" "$tmp/config")
  jq -cn --arg config "$config" --argjson size "$size" '{schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $config, size: $size},
    layers: $ARGS.positional}' --jsonargs "${layers[@]}" >"$tmp/manifest"
  size=$(stat -c %s "$tmp/manifest")
  digest=$(put_blob "$layout" "$tmp/manifest")
  rm -r "$tmp"
  jq -cn --arg digest "$digest" --argjson size "$size" --arg arch "$2" '{
    mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $digest, size: $size,
    platform: {os: "linux", architecture: $arch}}'
}

# close_layout LAYOUT DESCRIPTOR [ANNOTATION]: names the one image of a layout `image`.
close_layout() {
  echo '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
  jq -n --argjson image "$2" '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [$image + {annotations: {"org.opencontainers.image.ref.name": "image"}}]}' >"$1/index.json"
}

# image_layout DIR [LAYERS BYTES]: an OCI layout with one image; one small layer unless told.
image_layout() {
  mkdir -p "$1/blobs/sha256"
  close_layout "$1" "$(put_image "$1" amd64 "${2:-1}" "${3:-$small_bytes}")"
}

# index_layout DIR: an OCI layout with one index of three platforms.
index_layout() {
  local arch images=() digest size
  mkdir -p "$1/blobs/sha256"
  for arch in amd64 arm64 s390x; do images+=("$(put_image "$1" "$arch" 2 "$small_bytes")"); done
  jq -cn '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: $ARGS.positional}' --jsonargs "${images[@]}" >"$1/index"
  size=$(stat -c %s "$1/index")
  digest=$(put_blob "$1" "$1/index")
  close_layout "$1" "$(jq -cn --arg digest "$digest" --argjson size "$size" \
    '{mediaType: "application/vnd.oci.image.index.v1+json", digest: $digest, size: $size}')"
}

layout_digest() { jq -r '.manifests[0].digest' "$1/index.json"; }

layout_digests() { find "$1/blobs/sha256" -type f -printf 'sha256:%f\n'; }

# same_layout WANT HAVE: every blob of one layout is in the other, with the bytes its name promises.
same_layout() {
  local blob
  for blob in "$1"/blobs/sha256/*; do
    echo "${blob##*/}  $2/blobs/sha256/${blob##*/}"
  done | sha256sum --quiet --check -
}

same_file() { cmp "$1" "$2" || fail "pulled file differs: $2"; }

# --- the registry's own view, by curl

# remote_digest REPOSITORY REFERENCE
remote_digest() {
  curl -fsS -I -H 'Accept: */*' "http://$REGISTRY/v2/$1/manifests/$2" |
    tr -d '\r' | awk 'tolower($1) == "docker-content-digest:" { print $2 }'
}

# remote_is DIGEST REPOSITORY REFERENCE
remote_is() { equal "$1" "$(remote_digest "$2" "$3")" "digest of $2:$3 in the registry"; }

# gone REPOSITORY REFERENCE
gone() {
  equal 404 "$(curl -sS -o /dev/null -w '%{http_code}' -I -H 'Accept: */*' \
    "http://$REGISTRY/v2/$1/manifests/$2")" "status of the deleted $1:$2"
}

# referrers REPOSITORY DIGEST: the artifact types that the referrers API shows, sorted.
referrers() {
  curl -fsS "http://$REGISTRY/v2/$1/referrers/$2" |
    jq -r '[.manifests[].artifactType] | sort | join(" ")'
}
