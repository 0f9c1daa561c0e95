# docker: Docker engine with a graph driver (Debian's docker.io); PATCH chunked without a length, the layer's
# size is read from the answer's Range. Two engines: one pushes, an empty one pulls.
# shellcheck shell=bash

cases=(
  'layer\t100 MB random layer, push and pull (docker import)'
  'layers\timage built in 40 small layers, push and pull'
  'index\tmulti-arch manifest list, push and pull'
  'mount\tpush to another repository mounts the layers'
  'tags\tpush and pull all tags (lists the tags)'
  'digest\tpull by digest, run without network'
  'login\tlog in, push and pull; nothing without'
)

# Debian's own client fits the engine; another may stand before it on the path.
cli=/usr/bin/docker
[[ -x $cli ]] || cli=docker

install() {
  need_root
  debian dockerd docker.io
  debian "$cli" docker.io
  # A program that needs no other file, for an image that can run: nothing can be downloaded.
  printf 'package main\nfunc main() { println("ran") }\n' >"$WORK/ran.go"
  CGO_ENABLED=0 GOFLAGS='' go build -o "$WORK/ran" "$WORK/ran.go"
}

version() { debian_version docker.io || run dockerd --version | awk '{ print $3 }' | tr -d ,; }

# daemon NAME: an engine with its own storage, socket and containerd, that leaves the host's network alone.
daemon() {
  local dir=$WORK/docker/$1
  mkdir -p "$dir"
  echo '{}' >"$dir/daemon.json"
  start_daemon "docker-$1" dockerd --config-file "$dir/daemon.json" --iptables=false --ip6tables=false --bridge=none \
    --data-root "$dir/data" --exec-root "$dir/exec" --host "unix://$dir/socket" --pidfile "$dir/pid" \
    --insecure-registry "$REGISTRY"
  wait_for 60 "docker-$1" docker "$1" version || { cat "$WORK/logs/daemon.docker-$1"; return 1; }
}

setup() {
  daemon pusher
  daemon puller
}

# docker ENGINE ARGUMENT...; the classic builder needs nothing from outside.
docker() { DOCKER_BUILDKIT=0 run "$cli" --host "unix://$WORK/docker/$1/socket" "${@:2}"; }

image_id() { docker "$1" image inspect --format '{{.Id}}' "$2"; }

there_and_back() {
  docker pusher push "$IMAGE:image"
  docker puller pull "$IMAGE:image"
  equal "$(image_id pusher "$IMAGE:image")" "$(image_id puller "$IMAGE:image")" "image id"
}

# import_payload TAG BYTES: an image of one random file, kept as `payload`.
import_payload() {
  random_file payload "$2"
  tar -cf payload.tar payload
  docker pusher import payload.tar "$1"
}

# payload_of IMAGE: the file in a pulled image.
payload_of() {
  local container
  container=$(docker puller create "$1" /payload)
  docker puller cp "$container:/payload" -
  docker puller rm "$container" >&2
}

case_layer() {
  import_payload "$IMAGE:image" "$layer_bytes"
  there_and_back
  payload_of "$IMAGE:image" | tar -xO >pulled
  same_file payload pulled
}

case_layers() {
  local i
  echo 'FROM scratch' >Dockerfile
  for ((i = 1; i <= small_layers; i++)); do
    random_file "payload-$i" "$small_bytes"
    echo "COPY payload-$i /" >>Dockerfile
  done
  docker pusher build --tag "$IMAGE:image" .
  there_and_back
  docker puller image inspect "$IMAGE:image" |
    jq -e --argjson want "$small_layers" '.[0].RootFS.Layers | length == $want'
}

case_index() {
  local arch
  for arch in amd64 arm64; do
    import_payload "$IMAGE:$arch" "$small_bytes"
    docker pusher push "$IMAGE:$arch"
  done
  docker pusher manifest create --insecure "$IMAGE:image" "$IMAGE:amd64" "$IMAGE:arm64"
  # This engine's import knows only the architecture of the machine.
  docker pusher manifest annotate --arch amd64 "$IMAGE:image" "$IMAGE:amd64"
  docker pusher manifest annotate --arch arm64 "$IMAGE:image" "$IMAGE:arm64"
  docker pusher manifest push --insecure "$IMAGE:image"
  docker pusher manifest inspect --insecure "$IMAGE:image" |
    jq -e '[.manifests[].platform.architecture] | sort == ["amd64", "arm64"]'
  for arch in amd64 arm64; do
    docker puller pull --platform "linux/$arch" "$IMAGE:image"
    equal "$(image_id pusher "$IMAGE:$arch")" "$(image_id puller "$IMAGE:image")" "image id of $arch"
  done
}

case_mount() {
  import_payload "$IMAGE/from:image" "$small_bytes"
  docker pusher push "$IMAGE/from:image"
  docker pusher tag "$IMAGE/from:image" "$IMAGE/to:image"
  docker pusher push "$IMAGE/to:image" | tee copy.log
  grep "Mounted from $REPO/from" copy.log || fail "no layer was mounted"
  docker puller pull "$IMAGE/to:image"
}

case_tags() {
  local tag
  import_payload "$IMAGE:a" "$small_bytes"
  for tag in b c; do docker pusher tag "$IMAGE:a" "$IMAGE:$tag"; done
  docker pusher push --all-tags "$IMAGE"
  docker puller pull --all-tags "$IMAGE"
  equal "a b c" "$(docker puller images --format '{{.Tag}}' "$IMAGE" | sort | xargs)" tags
}

case_digest() {
  local digest
  cp "$WORK/ran" ran
  printf 'FROM scratch\nCOPY ran /\nENTRYPOINT ["/ran"]\n' >Dockerfile
  docker pusher build --tag "$IMAGE:image" .
  docker pusher push "$IMAGE:image"
  digest=$(remote_digest "$REPO" image)
  docker puller pull "$IMAGE@$digest"
  docker puller run --rm --network none "$IMAGE@$digest" 2>&1 | grep -Fx ran
}

case_login() {
  import_payload "$SECURED_IMAGE:image" "$small_bytes"
  refused docker pusher push "$SECURED_IMAGE:image"
  refused docker pusher login --username "$login_user" --password wrong "$SECURED"
  docker pusher login --username "$login_user" --password "$login_password" "$SECURED"
  docker pusher push "$SECURED_IMAGE:image"
  docker puller pull "$SECURED_IMAGE:image"
  docker pusher logout "$SECURED"
  docker puller image rm "$SECURED_IMAGE:image"
  refused docker puller pull "$SECURED_IMAGE:image"
}
