# oras: one PUT with a length; artifacts, subjects, referrers.
# shellcheck shell=bash

cases=(
  'layer\t100 MB random layer, push and pull'
  'layers\t40 small layers, push and pull'
  'index\tmulti-arch index, push and pull'
  'subject\tartifact with a subject: attach, discover, pull'
  'recursive\tcopy with referrers to another repository'
  'mount\tcopy to another repository mounts the layers'
  'tags\ttag, list tags and repositories'
  'delete\tdelete a manifest and a blob'
  'login\tlog in, push and pull; nothing without'
)

install() { go_tool oras.land/oras/cmd/oras v1.3.6; }
version() { go_version oras; }
oras() { run oras "$@"; }

case_layer() {
  random_file payload "$layer_bytes"
  oras push --plain-http "$IMAGE:image" payload:application/octet-stream
  oras pull --plain-http --output pulled "$IMAGE:image"
  same_file payload pulled/payload
}

case_layers() {
  local i files=()
  for ((i = 1; i <= small_layers; i++)); do
    random_file "payload-$i" "$small_bytes"
    files+=("payload-$i:application/octet-stream")
  done
  oras push --plain-http "$IMAGE:image" "${files[@]}"
  oras pull --plain-http --output pulled "$IMAGE:image"
  for ((i = 1; i <= small_layers; i++)); do same_file "payload-$i" "pulled/payload-$i"; done
}

case_index() {
  index_layout source
  oras cp --from-oci-layout --to-plain-http source:image "$IMAGE:image"
  remote_is "$(layout_digest source)" "$REPO" image
  oras cp --from-plain-http --to-oci-layout "$IMAGE:image" pulled:image
  same_layout source pulled
  oras manifest fetch --plain-http --platform linux/arm64 "$IMAGE:image" | jq -e '.layers | length == 2'
  oras manifest index create --plain-http "$IMAGE:index" image
}

# attach_two REFERENCE: two artifacts about one image.
attach_two() {
  random_file sbom "$small_bytes"
  random_file scan "$small_bytes"
  oras attach --plain-http --artifact-type application/x.sbom "$1" sbom:text/plain
  oras attach --plain-http --artifact-type application/x.scan "$1" scan:text/plain
}

case_subject() {
  local digest artifact
  image_layout source
  digest=$(layout_digest source)
  oras cp --from-oci-layout --to-plain-http source:image "$IMAGE:image"
  attach_two "$IMAGE:image"
  equal "application/x.sbom application/x.scan" "$(referrers "$REPO" "$digest")" referrers
  artifact=$(oras discover --plain-http --format json --artifact-type application/x.sbom "$IMAGE:image" |
    jq -r '.referrers[].digest')
  oras pull --plain-http --output pulled "$IMAGE@$artifact"
  same_file sbom pulled/sbom
}

case_recursive() {
  image_layout source
  oras cp --from-oci-layout --to-plain-http source:image "$IMAGE/from:image"
  attach_two "$IMAGE/from:image"
  oras cp --recursive --from-plain-http --to-plain-http "$IMAGE/from:image" "$IMAGE/to:image"
  equal "application/x.sbom application/x.scan" \
    "$(referrers "$REPO/to" "$(layout_digest source)")" referrers
}

case_mount() {
  image_layout source
  oras cp --from-oci-layout --to-plain-http source:image "$IMAGE/from:image"
  oras cp --no-tty --from-plain-http --to-plain-http "$IMAGE/from:image" "$IMAGE/to:image" | tee copy.log >&2
  grep Mounted copy.log || fail "no layer was mounted"
  oras cp --from-plain-http --to-oci-layout "$IMAGE/to:image" pulled:image
  same_layout source pulled
}

case_tags() {
  random_file payload "$small_bytes"
  oras push --plain-http "$IMAGE:b,c" payload:application/octet-stream
  oras tag --plain-http "$IMAGE:b" a
  equal "a b c" "$(oras repo tags --plain-http "$IMAGE" | xargs)" tags
  oras repo ls --plain-http "$REGISTRY/clients/$RUN/" | grep -Fx "oras/$CASE"
}

case_delete() {
  local digest
  random_file payload "$small_bytes"
  oras push --plain-http "$IMAGE:image" payload:application/octet-stream
  digest=$(remote_digest "$REPO" image)
  oras manifest delete --plain-http --force "$IMAGE:image"
  gone "$REPO" image
  gone "$REPO" "$digest"
  oras blob push --plain-http "$IMAGE" payload
  digest=sha256:$(sha256 payload)
  oras blob fetch --plain-http --output pulled "$IMAGE@$digest"
  same_file payload pulled
  oras blob delete --plain-http --force "$IMAGE@$digest"
  refused oras blob fetch --plain-http --output again "$IMAGE@$digest"
}

case_login() {
  random_file payload "$small_bytes"
  refused oras push --plain-http "$SECURED_IMAGE:image" payload:application/octet-stream
  oras login --plain-http --username "$login_user" --password "$login_password" "$SECURED"
  oras push --plain-http "$SECURED_IMAGE:image" payload:application/octet-stream
  oras pull --plain-http --output pulled "$SECURED_IMAGE:image"
  same_file payload pulled/payload
  oras logout "$SECURED"
  refused oras manifest fetch --plain-http "$SECURED_IMAGE:image"
}
