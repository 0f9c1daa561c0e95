# skopeo: containers/image, as in podman; one PATCH, PUT needs 201.
# shellcheck shell=bash

cases=(
  'layer\t100 MB random layer, push and pull'
  'layers\t40 small layers, push and pull'
  'index\tmulti-arch index, push and pull'
  'convert\tDocker schema 2 and zstd layers, push and pull'
  'mount\tcopy to another repository mounts the layers'
  'inspect\tinspect, configuration, list tags'
  'delete\tdelete an image'
  'login\tlog in, push and pull; nothing without'
)

install() { debian skopeo skopeo; }
version() { debian_version skopeo || run skopeo --version | awk '{ print $3 }'; }
skopeo() { run skopeo --insecure-policy "$@"; }

# there_and_back LAYOUT [FLAG]
there_and_back() {
  skopeo copy ${2:+"$2"} --dest-tls-verify=false "oci:$1:image" "docker://$IMAGE:image"
  remote_is "$(layout_digest "$1")" "$REPO" image
  skopeo copy ${2:+"$2"} --src-tls-verify=false "docker://$IMAGE:image" oci:pulled:image
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
  index_layout source
  there_and_back source --all
}

case_convert() {
  image_layout source
  # Another image: skopeo would find the layer of the first in the registry and not compress it anew.
  image_layout other
  skopeo copy --dest-tls-verify=false --format v2s2 oci:source:image "docker://$IMAGE:v2s2"
  skopeo inspect --tls-verify=false --raw "docker://$IMAGE:v2s2" |
    jq -e '.mediaType == "application/vnd.docker.distribution.manifest.v2+json"'
  skopeo copy --dest-tls-verify=false --dest-compress-format zstd --format oci oci:other:image "docker://$IMAGE:zstd"
  skopeo inspect --tls-verify=false --raw "docker://$IMAGE:zstd" |
    jq -e '.layers[0].mediaType == "application/vnd.oci.image.layer.v1.tar+zstd"'
  skopeo copy --src-tls-verify=false "docker://$IMAGE:v2s2" oci:pulled:image
  skopeo copy --src-tls-verify=false "docker://$IMAGE:zstd" oci:pulled:zstd
}

case_mount() {
  image_layout source
  skopeo copy --dest-tls-verify=false oci:source:image "docker://$IMAGE/from:image"
  skopeo --debug copy --src-tls-verify=false --dest-tls-verify=false \
    "docker://$IMAGE/from:image" "docker://$IMAGE/to:image" 2>copy.log || { cat copy.log; return 1; }
  grep -F '... mount OK' copy.log || { cat copy.log; fail "no layer was mounted"; }
  remote_is "$(layout_digest source)" "$REPO/to" image
  skopeo copy --src-tls-verify=false "docker://$IMAGE/to:image" oci:pulled:image
  same_layout source pulled
}

case_inspect() {
  image_layout source
  skopeo copy --dest-tls-verify=false oci:source:image "docker://$IMAGE:a"
  skopeo copy --dest-tls-verify=false oci:source:image "docker://$IMAGE:b"
  equal "$(layout_digest source)" \
    "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$IMAGE:a")"
  skopeo inspect --tls-verify=false --config "docker://$IMAGE:a" | jq -e '.architecture == "amd64"'
  equal "a b" "$(skopeo list-tags --tls-verify=false "docker://$IMAGE" | jq -r '.Tags | join(" ")')" tags
}

case_delete() {
  image_layout source
  skopeo copy --dest-tls-verify=false oci:source:image "docker://$IMAGE:a"
  skopeo delete --tls-verify=false "docker://$IMAGE:a"
  gone "$REPO" a
  gone "$REPO" "$(layout_digest source)"
}

case_login() {
  image_layout source
  refused skopeo copy --dest-tls-verify=false oci:source:image "docker://$SECURED_IMAGE:image"
  skopeo login --tls-verify=false --username "$login_user" --password "$login_password" "$SECURED"
  skopeo copy --dest-tls-verify=false oci:source:image "docker://$SECURED_IMAGE:image"
  skopeo copy --src-tls-verify=false "docker://$SECURED_IMAGE:image" oci:pulled:image
  same_layout source pulled
  skopeo logout "$SECURED"
  refused skopeo inspect --tls-verify=false "docker://$SECURED_IMAGE:image"
}
