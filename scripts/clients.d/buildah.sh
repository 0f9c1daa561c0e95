# buildah: containers/image with layers made here; PATCH chunked, without a length.
# shellcheck shell=bash

cases=(
  'layer\t100 MB random layer, push and pull'
  'layers\t40 small layers, push and pull'
  'index\tmulti-arch manifest list, push and pull'
  'mount\tpush to another repository mounts the layers'
  'login\tlog in, push and pull; nothing without'
)

install() {
  need_root
  debian buildah buildah
}

version() { debian_version buildah || run buildah --version | awk '{ print $3 }'; }

# buildah STORAGE ARGUMENT...: vfs works on any file system.
buildah() {
  run buildah --root "$PWD/$1/root" --runroot "$PWD/$1/run" --storage-driver vfs "${@:2}"
}

push() { buildah mine push --tls-verify=false "$@"; }
pull() { buildah fresh pull --tls-verify=false "$@"; }

# same_image IMAGE: it has the same id, the digest of the configuration, in both storages.
same_image() {
  equal "$(buildah mine images --no-trunc --quiet "$1")" "$(buildah fresh images --no-trunc --quiet "$1")" "image id"
}

case_layer() {
  local container dir
  random_file payload "$layer_bytes"
  container=$(buildah mine from scratch)
  buildah mine add "$container" payload /payload
  buildah mine commit "$container" "$IMAGE:image"
  push "$IMAGE:image"
  pull "$IMAGE:image"
  same_image "$IMAGE:image"
  container=$(buildah fresh from "$IMAGE:image")
  dir=$(buildah fresh mount "$container")
  same_file payload "$dir/payload"
  buildah fresh umount "$container"
}

case_layers() {
  local id
  # Building them costs a second a layer with vfs.
  image_layout source "$small_layers" "$small_bytes"
  id=$(buildah mine pull --quiet oci:source:image)
  buildah mine tag "$id" "$IMAGE:image"
  push "$IMAGE:image"
  pull "$IMAGE:image"
  same_image "$IMAGE:image"
  buildah fresh inspect --type image "$IMAGE:image" |
    jq -e --argjson want "$small_layers" '.OCIv1.rootfs.diff_ids | length == $want'
}

case_index() {
  local arch
  for arch in amd64 arm64; do random_file "payload-$arch" "$small_bytes"; done
  cat >Containerfile <<'FILE'
FROM scratch
ARG TARGETARCH
COPY payload-$TARGETARCH /
FILE
  buildah mine build --isolation chroot --platform linux/amd64,linux/arm64 --manifest list .
  buildah mine manifest push --tls-verify=false --all --format oci list "docker://$IMAGE:image"
  for arch in amd64 arm64; do
    pull --arch "$arch" "$IMAGE:image"
    buildah fresh inspect --type image "$IMAGE:image" | jq -e --arg arch "$arch" '.OCIv1.architecture == $arch'
  done
}

case_mount() {
  random_file payload "$small_bytes"
  printf 'FROM scratch\nCOPY payload /\n' >Containerfile
  buildah mine build --isolation chroot --tag "$IMAGE:image" .
  push "$IMAGE:image" "docker://$IMAGE/from:image"
  buildah mine --log-level debug push --tls-verify=false "$IMAGE:image" "docker://$IMAGE/to:image" 2>copy.log ||
    { cat copy.log; return 1; }
  grep -F '... mount OK' copy.log || { cat copy.log; fail "no layer was mounted"; }
  pull "$IMAGE/to:image"
  equal "$(buildah mine images --no-trunc --quiet "$IMAGE:image")" \
    "$(buildah fresh images --no-trunc --quiet "$IMAGE/to:image")" "image id"
}

case_login() {
  local id
  image_layout source
  id=$(buildah mine pull --quiet oci:source:image)
  refused push "$id" "docker://$SECURED_IMAGE:image"
  buildah mine login --tls-verify=false --username "$login_user" --password "$login_password" "$SECURED"
  push "$id" "docker://$SECURED_IMAGE:image"
  pull "docker://$SECURED_IMAGE:image"
  buildah mine logout "$SECURED"
  refused buildah third pull --tls-verify=false "docker://$SECURED_IMAGE:image"
}
