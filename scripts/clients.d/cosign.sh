# cosign: go-containerregistry inside; signatures and attestations as referrers. Everything is offline:
# a key pair of its own, a signing config and a trusted root that name no service.
# shellcheck shell=bash

cases=(
  'layer\t100 MB random layer, push and pull (load, save)'
  'layers\t40 small layers, push and pull (load, save)'
  'index\tmulti-arch index, push and pull (load, save)'
  'sign\tsignature as a referrer: sign, verify, refuse another key'
  'recursive\tsign a multi-arch index and each image in it'
  'attest\tattestation as a referrer: attest, verify, download'
  'clean\tremove the signatures'
  'login\tlog in, push and pull; nothing without'
)

bundle=application/vnd.dev.sigstore.bundle.v0.3+json

install() { go_tool github.com/sigstore/cosign/v3/cmd/cosign v3.1.3; }
version() { go_version cosign; }
cosign() { COSIGN_PASSWORD=secret run cosign "$@"; }

setup() {
  cosign generate-key-pair --output-key-prefix "$HOME/mine"
  cosign generate-key-pair --output-key-prefix "$HOME/other"
  cosign signing-config create --out "$HOME/signing.json"
  cosign trusted-root create --out "$HOME/root.json"
}

sign() {
  cosign sign --yes --key "$HOME/mine.key" --signing-config "$HOME/signing.json" \
    --trusted-root "$HOME/root.json" "$@"
}

verify() {
  cosign verify --key "$HOME/${2:-mine}.pub" --trusted-root "$HOME/root.json" --insecure-ignore-tlog "$1"
}

# load LAYOUT KIND: pushes a layout. cosign loads what it saved itself, known by an annotation.
load() {
  jq --arg kind "dev.cosignproject.cosign/$2" '.manifests[0].annotations = {kind: $kind}' \
    "$1/index.json" >index.json
  mv index.json "$1/index.json"
  cosign load --dir "$1" "$IMAGE:image"
  remote_is "$(layout_digest "$1")" "$REPO" image
}

# there_and_back LAYOUT KIND
there_and_back() {
  load "$@"
  cosign save --dir pulled "$IMAGE:image"
  equal "$(layout_digest "$1")" "$(layout_digest pulled)"
  same_layout "$1" pulled
}

case_layer() {
  image_layout source 1 "$layer_bytes"
  there_and_back source image
}

case_layers() {
  image_layout source "$small_layers" "$small_bytes"
  there_and_back source image
}

case_index() {
  index_layout source
  there_and_back source imageIndex
}

case_sign() {
  local digest
  image_layout source
  load source image
  digest=$(layout_digest source)
  refused verify "$IMAGE@$digest"
  sign "$IMAGE@$digest"
  equal "$bundle" "$(referrers "$REPO" "$digest")" referrers
  verify "$IMAGE:image"
  refused verify "$IMAGE:image" other
  cosign tree "$IMAGE:image"
}

# images_of_index LAYOUT: the digests of the images in the index of a layout.
images_of_index() {
  local digest
  digest=$(layout_digest "$1")
  jq -r '.manifests[].digest' "$1/blobs/sha256/${digest#sha256:}"
}

case_recursive() {
  local digest
  index_layout source
  load source imageIndex
  sign --recursive "$IMAGE@$(layout_digest source)"
  verify "$IMAGE:image"
  for digest in $(images_of_index source); do
    equal "$bundle" "$(referrers "$REPO" "$digest")" "referrers of $digest"
    verify "$IMAGE@$digest"
  done
}

case_attest() {
  local digest
  image_layout source
  load source image
  digest=$(layout_digest source)
  echo '{"checked": "by hand"}' >predicate
  cosign attest --yes --key "$HOME/mine.key" --signing-config "$HOME/signing.json" \
    --trusted-root "$HOME/root.json" --type custom --predicate predicate "$IMAGE@$digest"
  equal "$bundle" "$(referrers "$REPO" "$digest")" referrers
  cosign verify-attestation --key "$HOME/mine.pub" --trusted-root "$HOME/root.json" --insecure-ignore-tlog \
    --type custom "$IMAGE:image" | tee verified >&2
  jq -r .payload verified | base64 -d | jq -e '.predicate.Data | tojson | contains("by hand")'
  cosign download attestation "$IMAGE:image" | tee downloaded >&2
}

case_clean() {
  local digest
  image_layout source
  load source image
  digest=$(layout_digest source)
  sign "$IMAGE@$digest"
  cosign clean --force --type all "$IMAGE:image"
  equal '' "$(referrers "$REPO" "$digest")" referrers
  remote_is "$digest" "$REPO" image
  refused verify "$IMAGE:image"
}

case_login() {
  image_layout source
  jq '.manifests[0].annotations = {kind: "dev.cosignproject.cosign/image"}' source/index.json >index.json
  mv index.json source/index.json
  refused cosign load --dir source "$SECURED_IMAGE:image"
  cosign login --username "$login_user" --password "$login_password" "$SECURED"
  cosign load --dir source "$SECURED_IMAGE:image"
  sign "$SECURED_IMAGE@$(layout_digest source)"
  verify "$SECURED_IMAGE@$(layout_digest source)"
}
