package meta

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta/table"
	"github.com/slipway-oci/slipway/internal/meta/table/bolt"
)

// registry is a model on the embedded table, with a clock and a call counter.
type registry struct {
	*Model
	*testing.T
	calls table.Counter
	clock time.Time
}

func newRegistry(t *testing.T, opts Options) *registry {
	t.Helper()
	tab, err := bolt.Open(filepath.Join(t.TempDir(), "meta.db"), bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tab.Close() })
	r := &registry{T: t, clock: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	opts.Clock = func() time.Time { return r.clock }
	r.Model = New(table.WithHook(tab, r.calls.Hook()), opts)
	return r
}

func (r *registry) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *registry) wants(what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Errorf("%s: got %v, want %v", what, err, want)
	}
}

func (r *registry) upload(repo string, d digest.Digest) Blob {
	r.Helper()
	up, err := r.StartUpload(ctx, repo, digest.Canonical)
	r.must(err)
	up.Content.Size = 7
	b, err := r.CommitUpload(ctx, up, d)
	r.must(err)
	return b
}

func body(s string) (digest.Digest, []byte) { return digest.FromString(s), []byte(s) }

func (r *registry) push(repo, tag, content string, blobs ...digest.Digest) digest.Digest {
	r.Helper()
	d, b := body(content)
	r.must(r.PushManifest(ctx, Push{Repository: repo, Digest: d, MediaType: "m/t", Size: int64(len(b)), Body: b, Tags: []string{tag}, Blobs: blobs}))
	return d
}

func TestRepositoryComesWithItsFirstManifest(t *testing.T) {
	r := newRegistry(t, Options{ImmutableTags: true})
	r.upload("team/app", layer)
	_, err := r.Repository(ctx, "team/app")
	r.wants("repository with a blob only", err, ErrRepositoryUnknown)
	_, _, err = r.Tags(ctx, "team/app", "", 10)
	r.wants("tags of it", err, ErrRepositoryUnknown)
	r.push("team/app", "v1", "one", layer)
	got, err := r.Repository(ctx, "team/app")
	r.must(err)
	if !got.ImmutableTags || !got.Created.Equal(r.clock) {
		t.Errorf("got %+v", got)
	}
	r.push("lib/base", "v1", "one")
	names, more, err := r.Catalog(ctx, "", 1)
	if err != nil || !more || !slices.Equal(names, []string{"lib/base"}) {
		t.Errorf("catalog: %v %v %v", names, more, err)
	}
	names, more, err = r.Catalog(ctx, "lib/base", 5)
	if err != nil || more || !slices.Equal(names, []string{"team/app"}) {
		t.Errorf("catalog, second page: %v %v %v", names, more, err)
	}
}

func TestBlobIsVisibleOnlyWhereItWasPut(t *testing.T) {
	r := newRegistry(t, Options{})
	up := r.upload("a", layer)
	if got, err := r.Blob(ctx, "a", layer); err != nil || got != up {
		t.Errorf("got %+v, %v; want %+v", got, err, up)
	}
	_, err := r.Blob(ctx, "b", layer)
	r.wants("blob of another repository", err, ErrBlobUnknown)
	_, err = r.Mount(ctx, "c", "b", layer)
	r.wants("mount from a repository that lacks it", err, ErrBlobUnknown)
	if got, err := r.Mount(ctx, "a", "b", layer); err != nil || got != up {
		t.Errorf("mount: %+v, %v", got, err)
	}
	if again := r.upload("c", layer); again.Key != up.Key {
		t.Errorf("the same content is stored twice: %s and %s", up.Key, again.Key)
	}
	holders, err := r.Holders(ctx, layer, 2)
	if err != nil || !slices.Equal(holders, []string{"a", "b"}) {
		t.Errorf("holders: %v, %v", holders, err)
	}
	// A manifest cannot borrow it either.
	d, b := body("thief")
	err = r.PushManifest(ctx, Push{Repository: "d", Digest: d, Body: b, Blobs: []digest.Digest{layer}})
	var missing *MissingError
	if !errors.As(err, &missing) || !slices.Equal(missing.Blobs, []digest.Digest{layer}) {
		t.Errorf("push without the layer: %v", err)
	}
}

func TestTags(t *testing.T) {
	r := newRegistry(t, Options{})
	one := r.push("a", "v1", "one")
	two := r.push("a", "v1", "two")
	got, err := r.ManifestByTag(ctx, "a", "v1")
	if err != nil || got.Digest != two || !bytes.Equal(got.Body, []byte("two")) || got.MediaType != "m/t" || got.Size != 3 {
		t.Errorf("moved tag: %+v, %v", got, err)
	}
	r.push("a", "latest", "two")
	r.push("a", "10", "one")
	r.push("a", "9", "one")
	tags, more, err := r.Tags(ctx, "a", "", 3)
	if err != nil || !more || !slices.Equal(tags, []string{"10", "9", "latest"}) {
		t.Errorf("tags: %v %v %v", tags, more, err)
	}
	tags, more, err = r.Tags(ctx, "a", "latest", 3)
	if err != nil || more || !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("tags, second page: %v %v %v", tags, more, err)
	}
	r.must(r.DeleteTag(ctx, "a", "latest"))
	_, err = r.ManifestByTag(ctx, "a", "latest")
	r.wants("deleted tag", err, ErrManifestUnknown)
	r.wants("deleting it again", r.DeleteTag(ctx, "a", "latest"), ErrManifestUnknown)
	if _, err := r.Manifest(ctx, "a", two); err != nil {
		t.Errorf("its manifest stays: %v", err)
	}
	// The manifest takes its tags along, and only its own.
	r.must(r.DeleteManifest(ctx, "a", one))
	tags, _, err = r.Tags(ctx, "a", "", 10)
	if err != nil || !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("tags after the manifest went: %v, %v", tags, err)
	}
	r.wants("deleting it again", r.DeleteManifest(ctx, "a", one), ErrManifestUnknown)
}

func TestManifestWithManyTagsIsDeleted(t *testing.T) {
	r := newRegistry(t, Options{})
	var d digest.Digest
	for i := range 60 {
		d = r.push("a", fmt.Sprintf("v%d", i), "one")
	}
	r.must(r.DeleteManifest(ctx, "a", d))
	if tags, _, err := r.Tags(ctx, "a", "", 100); err != nil || len(tags) != 0 {
		t.Errorf("tags left: %v, %v", tags, err)
	}
}

func TestManyTagsAtOnceForOneManifest(t *testing.T) {
	r := newRegistry(t, Options{})
	d := r.push("a", "first", "one")
	var wg sync.WaitGroup
	for worker := range 32 {
		wg.Go(func() {
			for n := range 10 {
				err := r.PushManifest(ctx, Push{Repository: "a", Digest: d, Size: 3, Body: []byte("one"), Tags: []string{fmt.Sprintf("t%d-%d", worker, n)}})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.must(r.DeleteManifest(ctx, "a", d))
	if tags, _, err := r.Tags(ctx, "a", "", 1000); err != nil || len(tags) != 0 {
		t.Errorf("tags left: %v, %v", tags, err)
	}
}

func TestImmutableTags(t *testing.T) {
	r := newRegistry(t, Options{})
	r.must(r.SaveRepository(ctx, Repository{Name: "a", ImmutableTags: true}))
	created := r.clock
	r.push("a", "v1", "one")
	d, b := body("two")
	move := Push{Repository: "a", Digest: d, Body: b, Tags: []string{"v1"}}
	r.wants("moving it", r.PushManifest(ctx, move), ErrTagImmutable)
	_, err := r.Manifest(ctx, "a", d)
	r.wants("the manifest that did not get the tag", err, ErrManifestUnknown)
	r.push("a", "v1", "one") // the same again is fine
	r.push("a", "v2", "one")
	r.clock = r.clock.Add(time.Hour)
	r.must(r.SaveRepository(ctx, Repository{Name: "a"}))
	r.must(r.PushManifest(ctx, move))
	if got, err := r.Repository(ctx, "a"); err != nil || got.ImmutableTags || !got.Created.Equal(created) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestIndex(t *testing.T) {
	r := newRegistry(t, Options{})
	child := r.push("a", "child", "child")
	absent := digest.FromString("absent")
	d, b := body("index")
	index := Push{Repository: "a", Digest: d, Body: b, Manifests: []digest.Digest{child, absent}}
	err := r.PushManifest(ctx, index)
	var missing *MissingError
	if !errors.As(err, &missing) || !slices.Equal(missing.Manifests, []digest.Digest{absent}) || len(missing.Blobs) > 0 {
		t.Errorf("missing child: %v", err)
	}
	index.AllowMissing = true
	r.must(r.PushManifest(ctx, index))
	r.must(r.DeleteManifest(ctx, "a", d))
}

func TestSparseImageProtectsWhatComesLater(t *testing.T) {
	r := newRegistry(t, Options{Grace: time.Hour})
	d, b := body("sparse")
	p := Push{Repository: "a", Digest: d, Body: b, Blobs: []digest.Digest{layer}}
	var missing *MissingError
	if err := r.PushManifest(ctx, p); !errors.As(err, &missing) {
		t.Errorf("pushed without its layer: %v", err)
	}
	p.AllowMissing = true
	r.must(r.PushManifest(ctx, p))
	r.upload("a", layer)
	for range 4 {
		r.clock = r.clock.Add(2 * time.Hour)
		_, err := r.Sweep(ctx, &recorder{})
		r.must(err)
	}
	if _, err := r.Blob(ctx, "a", layer); err != nil {
		t.Errorf("the layer that came later: %v", err)
	}
	p.Digest, p.Body = digest.FromString("without its own bytes"), nil
	if err := r.PushManifest(ctx, p); !errors.As(err, &missing) {
		t.Errorf("pushed without its own bytes: %v", err)
	}
}

func TestContentThatMayBeAbsentOrEither(t *testing.T) {
	r := newRegistry(t, Options{Grace: time.Hour})
	child := r.push("a", "child", "child")
	r.upload("a", layer)
	later := digest.FromString("fetched from elsewhere")
	d, b := body("parent")
	p := Push{Repository: "a", Digest: d, Body: b,
		Either: []digest.Digest{child, layer}, Optional: []digest.Digest{later, layer}, Manifests: []digest.Digest{child}, Blobs: []digest.Digest{layer}}
	r.must(r.PushManifest(ctx, p))
	r.upload("a", later)
	for range 4 {
		r.clock = r.clock.Add(2 * time.Hour)
		_, err := r.Sweep(ctx, &recorder{})
		r.must(err)
	}
	for _, d := range []digest.Digest{layer, later} {
		if _, err := r.Blob(ctx, "a", d); err != nil {
			t.Errorf("held: %v", err)
		}
	}
	// One digest as everything at once is still one edge.
	d, b = body("strange")
	r.must(r.PushManifest(ctx, Push{Repository: "a", Digest: d, Body: b, AllowMissing: true,
		Blobs: []digest.Digest{child}, Manifests: []digest.Digest{child}, Either: []digest.Digest{child}, Optional: []digest.Digest{child}}))
	r.must(r.DeleteManifest(ctx, "a", d))
	// As many as nearly fill a write, each as a blob and as a manifest at once.
	strange := Push{Repository: "a", Digest: digest.FromString("very strange"), Body: []byte("{}"), Tags: []string{"strange"}}
	for i := range 40 {
		d := r.push("a", fmt.Sprintf("child%d", i), fmt.Sprintf("child %d", i))
		r.upload("a", d)
		strange.Blobs, strange.Manifests = append(strange.Blobs, d), append(strange.Manifests, d)
	}
	r.must(r.PushManifest(ctx, strange))
	// Neither manifest nor blob.
	d, b = body("orphan")
	var missing *MissingError
	if err := r.PushManifest(ctx, Push{Repository: "a", Digest: d, Body: b, Either: []digest.Digest{digest.FromString("nothing")}}); !errors.As(err, &missing) {
		t.Errorf("with a child that is neither: %v", err)
	}
}

func TestReferrers(t *testing.T) {
	r := newRegistry(t, Options{})
	subject := digest.FromString("not there yet")
	var want []ocispec.Descriptor
	for i := range 5 {
		d, b := body(fmt.Sprintf("signature %d", i))
		descriptor := ocispec.Descriptor{MediaType: "m/t", Digest: d, Size: int64(len(b)), ArtifactType: "sig", Annotations: map[string]string{"n": fmt.Sprint(i)}}
		r.must(r.PushManifest(ctx, Push{Repository: "a", Digest: d, Body: b, Referrer: &Referrer{Subject: subject, Descriptor: descriptor}}))
		want = append(want, descriptor)
	}
	slices.SortFunc(want, func(x, y ocispec.Descriptor) int { return bytes.Compare([]byte(x.Digest), []byte(y.Digest)) })
	var got []ocispec.Descriptor
	for after, more := digest.Digest(""), true; more; after = got[len(got)-1].Digest {
		var page []ocispec.Descriptor
		var err error
		page, more, err = r.Referrers(ctx, "a", subject, after, 2)
		r.must(err)
		got = append(got, page...)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	r.must(r.DeleteManifest(ctx, "a", want[0].Digest))
	if got, _, err := r.Referrers(ctx, "a", subject, "", 10); err != nil || len(got) != 4 {
		t.Errorf("after a deletion: %v, %v", got, err)
	}
	if got, _, err := r.Referrers(ctx, "b", subject, "", 10); err != nil || len(got) != 0 {
		t.Errorf("in another repository: %v, %v", got, err)
	}
}

func TestUploadSessions(t *testing.T) {
	r := newRegistry(t, Options{MaxUploads: 2, UploadAge: time.Hour})
	up, err := r.StartUpload(ctx, "a", digest.SHA512)
	r.must(err)
	if up.Content.Algorithm != digest.SHA512 || up.Content.Key != up.ID {
		t.Errorf("started %+v", up)
	}
	up.Content.Size, up.Content.State = 5, []byte("hash state")
	saved, err := r.SaveUpload(ctx, up)
	r.must(err)
	if got, err := r.Upload(ctx, "a", up.ID); err != nil || fmt.Sprint(got) != fmt.Sprint(saved) {
		t.Errorf("read %+v, %v; want %+v", got, err, saved)
	}
	_, err = r.SaveUpload(ctx, up)
	r.wants("saving from an old state", err, ErrUploadConflict)
	_, err = r.CommitUpload(ctx, up, layer)
	r.wants("committing an old state", err, ErrUploadConflict)
	_, err = r.Upload(ctx, "b", up.ID)
	r.wants("session of another repository", err, ErrUploadUnknown)

	second, err := r.StartUpload(ctx, "a", digest.SHA256)
	r.must(err)
	_, err = r.StartUpload(ctx, "a", digest.SHA256)
	r.wants("a third session", err, ErrTooManyUploads)
	r.must(r.CancelUpload(ctx, second))
	_, err = r.SaveUpload(ctx, second)
	r.wants("saving a cancelled session", err, ErrUploadUnknown)
	if _, err := r.StartUpload(ctx, "a", digest.SHA256); err != nil {
		t.Errorf("a session after one was cancelled: %v", err)
	}

	b, err := r.CommitUpload(ctx, saved, layer)
	r.must(err)
	if again, err := r.CommitUpload(ctx, saved, layer); err != nil || again != b {
		t.Errorf("committing again: %+v, %v", again, err)
	}
	third, err := r.StartUpload(ctx, "a", digest.SHA256)
	r.must(err)
	r.clock = r.clock.Add(time.Hour + time.Second)
	_, err = r.Upload(ctx, "a", third.ID)
	r.wants("a session whose time is up", err, ErrUploadUnknown)
	objects := &recorder{}
	report, err := r.Sweep(ctx, objects)
	r.must(err)
	if report.Uploads != 2 {
		t.Errorf("sweep ended %d sessions, want 2", report.Uploads)
	}
	r.clock = r.clock.Add(r.opts.Grace)
	_, err = r.Sweep(ctx, objects)
	r.must(err)
	if !slices.Contains(objects.aborted, third.Content.Key) || !slices.Contains(objects.aborted, second.Content.Key) {
		t.Errorf("bytes left of sessions that ended: aborted %v", objects.aborted)
	}
}

// recorder is a blob store that notes what it is to delete.
type recorder struct{ aborted, deleted []string }

func (o *recorder) Abort(_ context.Context, up blob.Upload) error {
	o.aborted = append(o.aborted, up.Key)
	return nil
}
func (o *recorder) Delete(_ context.Context, key string) error {
	o.deleted = append(o.deleted, key)
	return nil
}

func TestSweepFreesWhatNothingNeeds(t *testing.T) {
	r := newRegistry(t, Options{Grace: time.Hour})
	objects := &recorder{}
	sweep := func(after time.Duration) SweepReport {
		r.Helper()
		r.clock = r.clock.Add(after)
		report, err := r.Sweep(ctx, objects)
		r.must(err)
		return report
	}
	b := r.upload("a", layer)
	d := r.push("a", "v1", "one", layer)
	sweep(2 * time.Hour)
	sweep(2 * time.Hour)
	sweep(2 * time.Hour)
	if len(objects.deleted) > 0 {
		t.Fatalf("deleted %v, which an image needs", objects.deleted)
	}
	r.wants("deleting a blob that an image needs", r.DeleteBlob(ctx, "a", layer), ErrBlobReferenced)
	r.must(r.DeleteManifest(ctx, "a", d))
	sweep(59 * time.Minute)
	if _, err := r.Blob(ctx, "a", layer); err != nil {
		t.Errorf("within the grace period: %v", err)
	}
	sweep(2 * time.Minute)
	_, err := r.Blob(ctx, "a", layer)
	r.wants("condemned", err, ErrBlobUnknown)
	for range 4 {
		sweep(time.Hour + time.Minute)
	}
	if !slices.Equal(objects.deleted, []string{b.Key}) {
		t.Errorf("deleted %v, want %s", objects.deleted, b.Key)
	}
	if report := sweep(100 * time.Hour); report != (SweepReport{}) {
		t.Errorf("there is still work: %+v", report)
	}
	r.wants("deleting the blob that went", r.DeleteBlob(ctx, "a", layer), ErrBlobUnknown)
}

func TestDeletedBlobIsAbsentAtOnceAndComesBack(t *testing.T) {
	r := newRegistry(t, Options{})
	b := r.upload("a", layer)
	r.must(r.DeleteBlob(ctx, "a", layer))
	_, err := r.Blob(ctx, "a", layer)
	r.wants("deleted", err, ErrBlobUnknown)
	_, err = r.Mount(ctx, "a", "b", layer)
	r.wants("mount of a deleted one", err, ErrBlobUnknown)
	if again := r.upload("a", layer); again.Key != b.Key {
		t.Errorf("uploaded again it is another object")
	}
	if _, err := r.Blob(ctx, "a", layer); err != nil {
		t.Errorf("uploaded again: %v", err)
	}
}

func TestLimits(t *testing.T) {
	r := newRegistry(t, Options{})
	d, b := body("wide")
	var blobs []digest.Digest
	for i := range MaxReferences + 1 {
		blobs = append(blobs, digest.SHA512.FromString(fmt.Sprint(i)))
	}
	err := r.PushManifest(ctx, Push{Repository: "a", Digest: d, Body: b, Blobs: blobs})
	r.wants("too many references", err, ErrTooManyReferences)
	// As many as allowed, of the longest digests, fit into their rows.
	for _, d := range blobs[:MaxReferences] {
		r.upload("a", d)
	}
	wide := Push{Repository: "a", Digest: d, Body: bytes.Repeat([]byte("x"), InlineManifest), Blobs: blobs[:MaxReferences], Tags: []string{"wide"}}
	r.must(r.PushManifest(ctx, wide))
	r.must(r.DeleteManifest(ctx, "a", d))
	// The bytes of a large manifest are no reference.
	r.upload("a", d)
	wide.Body = nil
	r.must(r.PushManifest(ctx, wide))
}

// TestBudgets counts storage calls: they are what a request costs on AWS.
func TestBudgets(t *testing.T) {
	r := newRegistry(t, Options{})
	images := map[int]Push{}
	for _, n := range []int{10, 45, 99, 250} {
		d, b := body(fmt.Sprintf("image of %d", n))
		p := Push{Repository: "a", Digest: d, Body: b, Tags: []string{fmt.Sprint(n)}}
		for i := range n {
			layer := digest.FromString(fmt.Sprintf("layer %d of %d", i, n))
			r.upload("a", layer)
			p.Blobs = append(p.Blobs, layer)
		}
		images[n] = p
	}
	r.upload("b", layer)
	up, err := r.StartUpload(ctx, "a", digest.Canonical)
	r.must(err)

	budgets := []struct {
		name          string
		op            func() error
		reads, writes int
	}{
		{"push 10 blobs", func() error { return r.PushManifest(ctx, images[10]) }, 1, 1},
		{"push 45 blobs", func() error { return r.PushManifest(ctx, images[45]) }, 1, 1},
		{"push 99 blobs", func() error { return r.PushManifest(ctx, images[99]) }, 2, 3},
		{"push 250 blobs", func() error { return r.PushManifest(ctx, images[250]) }, 3, 4},
		{"push again", func() error { return r.PushManifest(ctx, images[10]) }, 1, 0},
		{"manifest by tag", func() error { _, err := r.ManifestByTag(ctx, "a", "10"); return err }, 1, 0},
		{"manifest by digest", func() error { _, err := r.Manifest(ctx, "a", images[10].Digest); return err }, 1, 0},
		{"blob", func() error { _, err := r.Blob(ctx, "a", images[10].Blobs[0]); return err }, 1, 0},
		{"start upload", func() error { _, err := r.StartUpload(ctx, "a", digest.Canonical); return err }, 1, 1},
		{"commit upload", func() error { _, err := r.CommitUpload(ctx, up, config); return err }, 1, 1},
		{"mount", func() error { _, err := r.Mount(ctx, "b", "a", layer); return err }, 1, 1},
		{"tags", func() error { _, _, err := r.Tags(ctx, "a", "", 100); return err }, 1, 0},
		{"delete tag", func() error { return r.DeleteTag(ctx, "a", "10") }, 1, 1},
		{"delete manifest", func() error { return r.DeleteManifest(ctx, "a", images[10].Digest) }, 2, 4},
	}
	for _, b := range budgets {
		r.calls.Reset()
		if err := b.op(); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		n := r.calls.Snapshot()
		writes := n.Write.Calls
		reads := n.Calls() - writes
		if reads > b.reads || writes > b.writes {
			t.Errorf("%s: %d reads and %d writes, want at most %d and %d", b.name, reads, writes, b.reads, b.writes)
		}
	}
}

func TestUploadLimitBeyondOnePage(t *testing.T) {
	const most = 30
	r := newRegistry(t, Options{MaxUploads: most})
	for range most {
		up, err := r.StartUpload(ctx, "a", digest.Canonical)
		r.must(err)
		up.Content.State = make([]byte, 100_000) // a page of the table ends at 1 MiB
		_, err = r.SaveUpload(ctx, up)
		r.must(err)
	}
	_, err := r.StartUpload(ctx, "a", digest.Canonical)
	r.wants("one more", err, ErrTooManyUploads)
}
