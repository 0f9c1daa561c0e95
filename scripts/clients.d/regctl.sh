# regctl: one PUT, chunks where told or where that fails, mounts without `from`.
# shellcheck shell=bash

cases=(
  'layer\t100 MB random layer, push and pull'
  'chunks\t100 MB random layer, pushed in 10 MB chunks'
  'layers\t40 small layers, push and pull'
  'index\tmulti-arch index, push and pull'
  'mount\tcopy to another repository mounts the layers'
  'referrers\tcopy with referrers to another repository'
  'artifact\tartifact with a subject: put, list, get'
  'tags\tlist tags and repositories'
  'delete\tdelete a tag, a manifest and a blob'
  'login\tlog in, push and pull; nothing without'
)

install() { go_tool github.com/regclient/regclient/cmd/regctl v0.11.7; }
version() { go_version regctl; }
setup() { regctl registry set --skip-check --tls disabled "$REGISTRY"; }
regctl() { REGCTL_CONFIG=$HOME/regctl.json run regctl "$@"; }

# there_and_back LAYOUT
there_and_back() {
  regctl image copy "ocidir://$1:image" "$IMAGE:image"
  remote_is "$(layout_digest "$1")" "$REPO" image
  regctl image copy "$IMAGE:image" ocidir://pulled:image
  equal "$(layout_digest "$1")" "$(layout_digest pulled)"
  same_layout "$1" pulled
}

case_layer() {
  image_layout source 1 "$layer_bytes"
  there_and_back source
}

case_chunks() {
  image_layout source 1 "$layer_bytes"
  regctl registry set --skip-check --blob-chunk 10000000 --blob-max 20000000 "$REGISTRY"
  regctl --verbosity trace image copy ocidir://source:image "$IMAGE:image" 2>copy.log || { cat copy.log; return 1; }
  regctl registry set --skip-check --blob-chunk 0 --blob-max 0 "$REGISTRY"
  (($(grep -c 'req-method=PATCH' copy.log) >= 10)) || { cat copy.log; fail "not sent in ten chunks"; }
  remote_is "$(layout_digest source)" "$REPO" image
  regctl image copy "$IMAGE:image" ocidir://pulled:image
  same_layout source pulled
}

case_layers() {
  image_layout source "$small_layers" "$small_bytes"
  there_and_back source
}

case_index() {
  index_layout source
  there_and_back source
  equal 2 "$(regctl manifest get --platform linux/arm64 --format '{{len .Layers}}' "$IMAGE:image")" layers
}

case_mount() {
  image_layout source
  regctl image copy ocidir://source:image "$IMAGE/from:image"
  regctl --verbosity debug image copy "$IMAGE/from:image" "$IMAGE/to:image" 2>copy.log ||
    { cat copy.log; return 1; }
  grep 'server side with registry mount' copy.log || { cat copy.log; fail "no layer was mounted"; }
  remote_is "$(layout_digest source)" "$REPO/to" image
  regctl image copy "$IMAGE/to:image" ocidir://pulled:image
  same_layout source pulled
}

case_referrers() {
  local digest
  image_layout source
  digest=$(layout_digest source)
  regctl image copy ocidir://source:image "$IMAGE/from:image"
  echo one | regctl artifact put --artifact-type application/x.one --subject "$IMAGE/from:image"
  echo two | regctl artifact put --artifact-type application/x.two --subject "$IMAGE/from:image"
  regctl image copy --referrers "$IMAGE/from:image" "$IMAGE/to:image"
  equal "application/x.one application/x.two" "$(referrers "$REPO/to" "$digest")" referrers
}

case_artifact() {
  local digest
  image_layout source
  digest=$(layout_digest source)
  regctl image copy ocidir://source:image "$IMAGE:image"
  random_file note "$small_bytes"
  regctl artifact put --artifact-type application/x.note --annotation who=regctl --subject "$IMAGE:image" \
    --file note --file-media-type application/octet-stream
  equal application/x.note "$(referrers "$REPO" "$digest")" referrers
  regctl artifact list "$IMAGE:image" --format '{{jsonPretty .}}' |
    jq -e '.descriptors[0].annotations.who == "regctl"'
  regctl artifact get --subject "$IMAGE:image" --filter-artifact-type application/x.note >pulled
  same_file note pulled
}

case_tags() {
  image_layout source
  regctl image copy ocidir://source:image "$IMAGE:b"
  regctl image copy "$IMAGE:b" "$IMAGE:a"
  equal "a b" "$(regctl tag ls "$IMAGE" | xargs)" tags
  equal a "$(regctl tag ls --limit 1 "$IMAGE" | xargs)" "first page of the tags"
  regctl repo ls "$REGISTRY" | grep -Fx "$REPO"
}

case_delete() {
  local digest blob
  image_layout source
  digest=$(layout_digest source)
  regctl image copy ocidir://source:image "$IMAGE:a"
  regctl image copy ocidir://source:image "$IMAGE:b"
  regctl tag rm "$IMAGE:a"
  gone "$REPO" a
  remote_is "$digest" "$REPO" b
  regctl manifest delete "$IMAGE@$digest"
  gone "$REPO" b
  random_file bytes "$small_bytes"
  blob=$(regctl blob put "$IMAGE" <bytes)
  equal "sha256:$(sha256 bytes)" "$blob"
  regctl blob head "$IMAGE" "$blob"
  regctl blob delete "$IMAGE" "$blob"
  refused regctl blob head "$IMAGE" "$blob"
}

case_login() {
  image_layout source
  regctl registry set --skip-check --tls disabled "$SECURED"
  refused regctl image copy ocidir://source:image "$SECURED_IMAGE:image"
  regctl registry login --user "$login_user" --pass "$login_password" "$SECURED"
  regctl image copy ocidir://source:image "$SECURED_IMAGE:image"
  regctl image copy "$SECURED_IMAGE:image" ocidir://pulled:image
  same_layout source pulled
  regctl registry logout "$SECURED"
  refused regctl manifest get "$SECURED_IMAGE:image"
}
