# ctr: the containerd of Debian (1.6), which sends one PUT and needs Docker-Content-Digest in the answer.
# shellcheck shell=bash

cases=(
  'layer\t100 MB random layer, push and pull'
  'layers\t40 small layers, push and pull'
  'index\tmulti-arch index, push and pull'
  'mount\tpush to another repository mounts the layers'
  'login\tlog in, push and pull; nothing without'
)

install() {
  need_root
  debian containerd containerd
  debian ctr containerd
}

version() { debian_version containerd || run ctr --version | awk '{ print $NF }'; }

# daemon NAME: a containerd with storage and a socket of its own, without the Kubernetes part.
daemon() {
  local dir=$WORK/ctr/$1
  mkdir -p "$dir"
  printf 'version = 2\nroot = "%s/root"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' \
    "$dir" "$dir" >"$dir/config.toml"
  printf '[grpc]\naddress = "%s/socket"\n' "$dir" >>"$dir/config.toml"
  start_daemon "ctr-$1" containerd --config "$dir/config.toml"
  wait_for 30 "ctr-$1" ctr "$1" version || { cat "$WORK/logs/daemon.ctr-$1"; return 1; }
}

setup() {
  daemon pusher
  daemon puller
}

# ctr DAEMON ARGUMENT...: the native snapshotter works on any file system.
ctr() { CONTAINERD_SNAPSHOTTER=native run ctr --address "$WORK/ctr/$1/socket" "${@:2}"; }

# import LAYOUT: the image of a layout as $IMAGE:image.
import() {
  tar -C "$1" -cf layout.tar .
  ctr pusher images import --all-platforms --no-unpack --base-name "$IMAGE" layout.tar
}

there_and_back() {
  local digest
  import "$1"
  ctr pusher images push --plain-http "$IMAGE:image"
  remote_is "$(layout_digest "$1")" "$REPO" image
  # The other daemon has an empty storage: what it has afterwards came from the registry.
  ctr puller images pull --plain-http --all-platforms "$IMAGE:image"
  ctr puller images check "name==$IMAGE:image" | grep -w complete
  for digest in $(layout_digests "$1"); do
    equal "$digest" "sha256:$(ctr puller content get "$digest" | sha256)"
  done
}

case_layer() {
  image_layout source 1 "$layer_bytes"
  there_and_back source
}

case_layers() {
  image_layout source "$small_layers" "$small_bytes"
  there_and_back source
}

case_index() {
  index_layout source
  there_and_back source
}

case_mount() {
  image_layout source
  import source
  ctr pusher images push --plain-http "$IMAGE:image"
  # containerd remembers where pulled content came from, and asks for a mount from there.
  ctr puller images pull --plain-http "$IMAGE:image"
  ctr puller images tag "$IMAGE:image" "$IMAGE/to:image"
  ctr puller --debug images push --plain-http --http-trace "$IMAGE/to:image" >copy.log 2>&1 || { cat copy.log; return 1; }
  grep -a 'POST.*mount=sha256' copy.log || { cat copy.log; fail "containerd asked for no mount"; }
  if grep -a 'method=PUT.*/blobs/' copy.log; then fail "the registry refused the mount"; fi
  remote_is "$(layout_digest source)" "$REPO/to" image
}

case_login() {
  image_layout source
  tar -C source -cf source.tar .
  ctr pusher images import --all-platforms --no-unpack --base-name "$SECURED_IMAGE" source.tar
  refused ctr pusher images push --plain-http "$SECURED_IMAGE:image"
  ctr pusher images push --plain-http --user "$login_user:$login_password" "$SECURED_IMAGE:image"
  refused ctr puller images pull --plain-http "$SECURED_IMAGE:image"
  ctr puller images pull --plain-http --user "$login_user:$login_password" "$SECURED_IMAGE:image"
}
