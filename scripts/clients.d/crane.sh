# crane: one PATCH with a length, then PUT; the same library as ko, kaniko and cosign.
# shellcheck shell=bash

cases=(
  'layer\t100 MB random layer, push and pull'
  'layers\t40 small layers, push and pull'
  'index\tmulti-arch index, push and pull'
  'append\tappend a layer, mutate, validate remotely'
  'mount\tcopy to another repository mounts the layers'
  'tags\ttag, list tags, catalog'
  'delete\tdelete a tag, then the digest'
  'login\tlog in, push and pull; nothing without'
)

install() { go_tool github.com/google/go-containerregistry/cmd/crane v0.22.1; }
version() { go_version crane; }
crane() { run crane --insecure "$@"; }

# there_and_back LAYOUT
there_and_back() {
  crane push "$1" "$IMAGE:image"
  remote_is "$(layout_digest "$1")" "$REPO" image
  crane pull --format=oci "$IMAGE:image" pulled
  equal "$(layout_digest "$1")" "$(layout_digest pulled)"
  same_layout "$1" pulled
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
  local digest
  index_layout source
  digest=$(layout_digest source)
  # crane pushes the layout's own index.json: put the image's index in its place.
  cp "source/blobs/sha256/${digest#sha256:}" source/index.json
  crane push --index source "$IMAGE:image"
  remote_is "$digest" "$REPO" image
  crane pull --format=oci "$IMAGE:image" pulled
  equal "$digest" "$(layout_digest pulled)"
  same_layout source pulled
  crane manifest --platform=linux/arm64 "$IMAGE:image" | jq -e '.layers | length == 2'
}

case_append() {
  random_file extra "$small_bytes"
  tar -cf extra.tar extra
  crane append --new_layer extra.tar --new_tag "$IMAGE:one"
  crane mutate --label made=here --tag "$IMAGE:two" "$IMAGE:one"
  crane config "$IMAGE:two" | jq -e '.config.Labels.made == "here"'
  crane validate --remote "$IMAGE:two"
}

case_mount() {
  local layer
  image_layout source
  crane push source "$IMAGE/from:image"
  layer=$(crane manifest "$IMAGE/from:image" | jq -r '.layers[0].digest')
  crane -v copy "$IMAGE/from:image" "$IMAGE/to:image" 2>copy.log || { cat copy.log; return 1; }
  grep -F "mounted blob: $layer" copy.log || { cat copy.log; fail "$layer was not mounted"; }
  remote_is "$(layout_digest source)" "$REPO/to" image
  crane blob "$IMAGE/to@$layer" >bytes
  equal "$layer" "sha256:$(sha256 bytes)"
}

case_tags() {
  image_layout source
  crane push source "$IMAGE:b"
  crane tag "$IMAGE:b" a
  crane tag "$IMAGE:b" c
  equal "a b c" "$(crane ls "$IMAGE" | xargs)" tags
  crane catalog "$REGISTRY" | grep -Fx "$REPO"
}

case_delete() {
  local digest
  image_layout source
  digest=$(layout_digest source)
  crane push source "$IMAGE:a"
  crane tag "$IMAGE:a" b
  crane delete "$IMAGE:a"
  gone "$REPO" a
  remote_is "$digest" "$REPO" b
  crane delete "$IMAGE@$digest"
  gone "$REPO" "$digest"
  gone "$REPO" b
  refused crane pull "$IMAGE:b" pulled
}

case_login() {
  image_layout source
  refused crane push source "$SECURED_IMAGE:image"
  crane auth login --username "$login_user" --password "$login_password" "$SECURED"
  crane push source "$SECURED_IMAGE:image"
  crane pull --format=oci "$SECURED_IMAGE:image" pulled
  same_layout source pulled
  crane auth logout "$SECURED"
  refused crane manifest "$SECURED_IMAGE:image"
}
