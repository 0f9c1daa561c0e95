package meta

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// checkSafe is what must hold after every single storage call.
func checkSafe(t *testing.T, w *world) {
	t.Helper()
	for k, it := range w.mem.items {
		repo, inRepo := strings.CutPrefix(k.PK, "repo#")
		switch {
		case inRepo && strings.HasPrefix(k.SK, "manifest#"):
			row, err := rowOf[manifestRow](it)
			if err != nil {
				t.Error(err)
			}
			for _, d := range row.Children.Blobs {
				if _, ok := w.mem.items[linkKey(repo, d)]; !ok && d != foreign {
					t.Errorf("manifest %s in %s lacks its blob %s", row.Digest, repo, d)
				}
				if _, ok := w.mem.items[refKey(repo, d, row.Digest)]; !ok {
					t.Errorf("manifest %s in %s lacks its edge to %s", row.Digest, repo, d)
				}
			}
			if row.Object != "" && !w.objects[row.Object] {
				t.Errorf("manifest %s in %s lacks its own bytes", row.Digest, repo)
			}
		case inRepo && strings.HasPrefix(k.SK, "tag#"):
			row, err := rowOf[manifestRow](it)
			if err != nil {
				t.Error(err)
			}
			if _, ok := w.mem.items[manifestKey(repo, row.Digest)]; !ok {
				t.Errorf("%s in %s dangles", k.SK, repo)
			}
			tag := strings.TrimPrefix(k.SK, "tag#")
			if _, ok := w.mem.items[tagListKey(repo, tag)]; !ok {
				t.Errorf("%s in %s is not listed", k.SK, repo)
			}
			if _, ok := w.mem.items[taggedKey(repo, row.Digest, tag)]; !ok {
				t.Errorf("%s in %s is unknown to its manifest", k.SK, repo)
			}
		case inRepo && strings.HasPrefix(k.SK, "blob#"):
			row, err := rowOf[contentRow](it)
			if err != nil {
				t.Error(err)
			}
			d := digest.Digest(strings.TrimPrefix(k.SK, "blob#"))
			stored, ok := w.mem.items[storedKey(d)]
			if !ok {
				t.Errorf("blob %s in %s is not stored", d, repo)
				continue
			}
			storedRow, err := rowOf[contentRow](stored)
			if err != nil {
				t.Error(err)
			}
			if storedRow.State == deleting || storedRow.Object != row.Object || !w.objects[row.Object] {
				t.Errorf("blob %s in %s: stored %+v, object there: %v", d, repo, storedRow, w.objects[row.Object])
			}
			if _, ok := w.mem.items[holderKey(d, repo)]; !ok {
				t.Errorf("blob %s does not know that %s holds it", d, repo)
			}
		}
	}
}

// checkClean is what must hold in the end: nothing is left that nothing needs.
func checkClean(t *testing.T, w *world) {
	t.Helper()
	needed := map[string]bool{}
	for k, it := range w.mem.items {
		repo, inRepo := strings.CutPrefix(k.PK, "repo#")
		switch {
		case strings.HasPrefix(k.PK, "due#"), strings.HasPrefix(k.PK, "uploads#"), strings.HasPrefix(k.SK, "intent#"):
			t.Errorf("left over: %s", k)
		case inRepo && strings.HasPrefix(k.SK, "blob#"):
			row, _ := rowOf[contentRow](it)
			needed[row.Object] = true
			held := false
			for other := range w.mem.items {
				held = held || other.PK == k.PK && strings.HasPrefix(other.SK, refsTo(digest.Digest(strings.TrimPrefix(k.SK, "blob#"))))
			}
			if !held || row.State != live {
				t.Errorf("left over: %s, held: %v, state %q", k, held, row.State)
			}
		case inRepo && strings.HasPrefix(k.SK, "ref#"):
			parts := strings.Split(k.SK, "#")
			if _, ok := w.mem.items[manifestKey(repo, digest.Digest(parts[2]))]; !ok {
				t.Errorf("left over: edge %s", k)
			}
		case strings.HasPrefix(k.PK, "blob#") && k.SK == "blob":
			held := false
			for other := range w.mem.items {
				held = held || other.PK == k.PK && strings.HasPrefix(other.SK, holderPrefix)
			}
			if row, _ := rowOf[contentRow](it); !held || row.State != live {
				t.Errorf("left over: %s, held: %v, state %q", k, held, row.State)
			}
		}
	}
	for object := range w.objects {
		if !needed[object] {
			t.Errorf("left over: object %s", object)
		}
	}
}
