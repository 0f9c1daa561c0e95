# helm: oras-go inside; charts as artifacts.
# shellcheck shell=bash

cases=(
  'chart\tchart: push, pull, show, template'
  'layer\tchart of 100 MB random files, push and pull'
  'versions\tnewest version by range (lists the tags)'
  'dependency\tchart that depends on a chart in the registry'
  'login\tlog in, push and pull; nothing without'
)

install() { go_tool helm.sh/helm/v4/cmd/helm v4.3.1; }
version() { go_version helm; }
helm() { run helm "$@"; }

# new_chart NAME VERSION: a chart folder with one template.
new_chart() {
  mkdir -p "$1/templates"
  printf 'apiVersion: v2\nname: %s\nversion: %s\n' "$1" "$2" >"$1/Chart.yaml"
  echo "name: $(head -c 12 /dev/urandom | base64)" >"$1/values.yaml"
  cat >"$1/templates/map.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  name: {{ .Values.name | quote }}
YAML
}

case_chart() {
  new_chart web 1.2.3
  helm package web
  helm push --plain-http web-1.2.3.tgz "oci://$IMAGE"
  helm pull --plain-http --version 1.2.3 --destination . --untar --untardir pulled "oci://$IMAGE/web"
  same_file web/values.yaml pulled/web/values.yaml
  helm show chart --plain-http --version 1.2.3 "oci://$IMAGE/web" | grep -Fx 'version: 1.2.3'
  helm template --plain-http --version 1.2.3 site "oci://$IMAGE/web" | grep 'name: site'
}

case_layer() {
  local i
  new_chart big 1.0.0
  # helm refuses files above 5 MiB and charts above 100 MiB.
  for i in {1..25}; do random_file "big/file-$i" $((layer_bytes / 25)); done
  helm package big
  helm push --plain-http big-1.0.0.tgz "oci://$IMAGE"
  mkdir pulled
  helm pull --plain-http --version 1.0.0 --destination pulled "oci://$IMAGE/big"
  same_file big-1.0.0.tgz pulled/big-1.0.0.tgz
}

case_versions() {
  local version
  for version in 0.9.0 1.0.0 1.10.0 1.9.0; do
    new_chart web "$version"
    helm package web
    helm push --plain-http "web-$version.tgz" "oci://$IMAGE"
  done
  helm show chart --plain-http --version '>=1.0.0' "oci://$IMAGE/web" | grep -Fx 'version: 1.10.0'
}

case_dependency() {
  new_chart base 0.1.0
  helm package base
  helm push --plain-http base-0.1.0.tgz "oci://$IMAGE"
  new_chart web 1.0.0
  printf 'dependencies:\n- name: base\n  version: 0.1.0\n  repository: oci://%s\n' "$IMAGE" >>web/Chart.yaml
  helm dependency update --plain-http web
  same_file base-0.1.0.tgz web/charts/base-0.1.0.tgz
}

case_login() {
  new_chart web 1.2.3
  helm package web
  refused helm push --plain-http web-1.2.3.tgz "oci://$SECURED_IMAGE"
  helm registry login --plain-http --username "$login_user" --password "$login_password" "$SECURED"
  helm push --plain-http web-1.2.3.tgz "oci://$SECURED_IMAGE"
  mkdir pulled
  helm pull --plain-http --version 1.2.3 --destination pulled "oci://$SECURED_IMAGE/web"
  same_file web-1.2.3.tgz pulled/web-1.2.3.tgz
  helm registry logout "$SECURED"
  refused helm show chart --plain-http --version 1.2.3 "oci://$SECURED_IMAGE/web"
}
