// Package internal_test guards what depends on what.
package internal_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/slipway-oci/slipway"

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return strings.Fields(string(out))
}

// TestDataPath: the packages that will run in a Lambda on every request stay
// small. An engine, a command line or a metrics library has no place there.
func TestDataPath(t *testing.T) {
	allowed := map[string][]string{
		"internal/meta/table": {},
		"internal/blob":       {"github.com/opencontainers/go-digest", module + "/internal/blob"},
		"internal/meta": {"github.com/opencontainers/go-digest", "github.com/opencontainers/image-spec/",
			module + "/internal/blob", module + "/internal/meta"},
		"internal/registry": {"github.com/opencontainers/go-digest", "github.com/opencontainers/image-spec/",
			module + "/internal/blob", module + "/internal/meta", module + "/internal/registry"},
	}
	engines := []string{module + "/internal/meta/table/bolt", module + "/internal/meta/table/dynamo", module + "/internal/blob/disk", module + "/internal/blob/s3"}
	for pkg, prefixes := range allowed {
		deps := goList(t, "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", module+"/"+pkg)
		for _, dep := range deps {
			ok := dep == module+"/"+pkg || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(dep, p) })
			if !ok || slices.Contains(engines, dep) {
				t.Errorf("%s depends on %s", pkg, dep)
			}
		}
	}
}

// TestEveryDependencyHasAReason holds docs/DEPENDENCIES.md against go.mod.
func TestEveryDependencyHasAReason(t *testing.T) {
	page, err := os.ReadFile("../docs/DEPENDENCIES.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\S+\.\S+/\S+) \|`).FindAllSubmatch(page, -1) {
		listed = append(listed, string(row[1]))
	}
	raw, err := exec.Command("go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(raw, &mod); err != nil {
		t.Fatal(err)
	}
	var direct []string
	for _, r := range mod.Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	slices.Sort(listed)
	slices.Sort(direct)
	if !slices.Equal(listed, direct) {
		t.Errorf("docs/DEPENDENCIES.md lists\n%s\ngo.mod requires\n%s", strings.Join(listed, "\n"), strings.Join(direct, "\n"))
	}
}
