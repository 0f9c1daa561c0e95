package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestCrashesUnderMixedLoad kills a registry again and again while clients
// push, move tags, mount, delete, and while it collects garbage with a grace
// period of a blink. After each restart everything that was acknowledged is
// there and whole; in the end nothing else is.
func TestCrashesUnderMixedLoad(t *testing.T) {
	const rounds, clients = 5, 4
	data := filepath.Join(t.TempDir(), "data")
	uploadAge := 3 * time.Second
	args := []string{"--data", data, "--log-level", "error", "--sweep-interval", "20ms", "--grace", "300ms", "--upload-age", uploadAge.String()}

	all := make([]*client, clients)
	for i := range all {
		all[i] = newClient(i)
	}
	for round := range rounds {
		p := serve(t, args...)
		for _, c := range all {
			c.verify(t, p)
		}
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() {
				for c.act(t, p) {
				}
			})
		}
		time.Sleep(time.Duration(300+rand.IntN(700)) * time.Millisecond)
		if err := p.stop(syscall.SIGKILL); err == nil {
			t.Error("a killed process ended well")
		}
		wg.Wait()
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}

	p := serve(t, args...)
	for _, c := range all {
		c.verify(t, p)
	}
	if err := p.stop(syscall.SIGTERM); err != nil {
		t.Fatalf("after SIGTERM: %v\n%s", err, p.errout)
	}
	time.Sleep(uploadAge) // the sessions that the kills left open run out
	if out, err := command("gc", "--once", "--ignore-grace", "--data", data).CombinedOutput(); err != nil {
		t.Fatalf("gc: %v\n%s", err, out)
	}
	p = serve(t, args...)
	needed, images, acts := map[string]bool{}, 0, 0
	for _, c := range all {
		c.verify(t, p)
		images, acts = images+len(c.images), acts+c.acts
		for _, im := range c.images {
			for _, b := range im.blobs {
				needed[digestOf(b)] = true
			}
		}
	}
	files := 0
	err := filepath.WalkDir(filepath.Join(data, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files++
		}
		return err
	})
	if err != nil || files != len(needed) {
		t.Errorf("%d objects on disk for %d blobs that images need (%v)", files, len(needed), err)
	}
	t.Logf("%d acknowledged acts over %d kills; %d images with %d blobs are left", acts, rounds, images, len(needed))
}

// crashImage is an image as its client pushed it.
type crashImage struct {
	manifest []byte
	blobs    [][]byte
}

// client works in a repository of its own, so that it knows what must be there.
type client struct {
	id     int
	repo   string
	rng    *rand.Rand
	images map[string]crashImage // by digest: acknowledged and not deleted
	tags   map[string]string     // tag -> digest
	acts   int

	// What was under way when the registry was killed: it happened or not.
	unsureImages map[string]crashImage
	unsureTags   map[string]bool
}

func newClient(id int) *client {
	return &client{
		id: id, repo: fmt.Sprintf("team%d/app", id), rng: rand.New(rand.NewPCG(uint64(id), 42)),
		images: map[string]crashImage{}, tags: map[string]string{},
		unsureImages: map[string]crashImage{}, unsureTags: map[string]bool{},
	}
}

// act does one thing and notes that it is done. False: the registry is gone.
func (c *client) act(t *testing.T, p *process) bool {
	var err error
	switch n := c.rng.IntN(10); {
	case n < 7 || len(c.images) == 0:
		err = c.push(p)
	case n < 9:
		err = c.deleteImage(p)
	default:
		err = c.deleteTag(p)
	}
	if err == nil {
		c.acts++
		return true
	}
	var answered *answerError
	if errors.As(err, &answered) {
		t.Errorf("client %d: %v", c.id, err)
	}
	return false
}

// answerError is an answer that was not expected: unlike a broken connection it
// is a mistake of the registry.
type answerError struct {
	status int
	text   string
}

func (e *answerError) Error() string { return e.text }

func (c *client) want(p *process, status int, method, path string, body []byte, header ...string) (*http.Response, error) {
	resp, raw, err := p.do(method, path, body, header...)
	if err == nil && resp.StatusCode != status {
		err = &answerError{resp.StatusCode, fmt.Sprintf("%s %s: %s %s", method, path, resp.Status, raw)}
	}
	return resp, err
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

func (c *client) push(p *process) error {
	tag := fmt.Sprintf("v%d", c.rng.IntN(5))
	base := bytes.Repeat([]byte{byte(c.rng.IntN(4))}, 30_000) // shared by all clients
	own := fmt.Appendf(bytes.Repeat([]byte("x"), c.rng.IntN(200_000)), "%d-%d", c.id, c.rng.Uint64())
	config := fmt.Appendf(nil, `{"n":%d}`, c.rng.Uint64())
	im := crashImage{blobs: [][]byte{config, base, own}}
	im.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[`,
		manifestType, digestOf(config), len(config))
	for i, b := range im.blobs[1:] {
		if i > 0 {
			im.manifest = append(im.manifest, ',')
		}
		im.manifest = fmt.Appendf(im.manifest, `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}`, digestOf(b), len(b))
	}
	im.manifest = append(im.manifest, "]}"...)
	d := digestOf(im.manifest)

	c.unsureImages[d], c.unsureTags[tag] = im, true
	for tries := 0; ; tries++ {
		for _, b := range im.blobs {
			if err := c.pushBlob(p, b); err != nil {
				return err
			}
		}
		_, err := c.want(p, http.StatusCreated, http.MethodPut, "/v2/"+c.repo+"/manifests/"+tag, im.manifest, "Content-Type", manifestType)
		var answered *answerError
		if errors.As(err, &answered) && answered.status == http.StatusNotFound && tries < 5 {
			continue // the grace period is so short that a blob can go in between
		}
		if err != nil {
			return err
		}
		c.images[d], c.tags[tag] = im, d
		delete(c.unsureImages, d)
		delete(c.unsureTags, tag)
		return nil
	}
}

// pushBlob mounts it, or uploads it in one of the three ways.
func (c *client) pushBlob(p *process, b []byte) error {
	uploads, d := "/v2/"+c.repo+"/blobs/uploads/", digestOf(b)
	resp, raw, err := p.do(http.MethodPost, uploads+fmt.Sprintf("?mount=%s&from=team%d/app", d, c.rng.IntN(4)), nil)
	if err != nil || resp.StatusCode == http.StatusCreated {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return &answerError{resp.StatusCode, fmt.Sprintf("mount: %s %s", resp.Status, raw)}
	}
	location := resp.Header.Get("Location")
	switch c.rng.IntN(3) {
	case 0:
		_, err = c.want(p, http.StatusCreated, http.MethodPost, uploads+"?digest="+d, b, "Content-Type", "application/octet-stream")
		return err
	case 1:
		_, err = c.want(p, http.StatusCreated, http.MethodPut, location+"&digest="+d, b)
		return err
	default:
		half := len(b) / 2
		for _, part := range [][]byte{b[:half], b[half:]} {
			if resp, err = c.want(p, http.StatusAccepted, http.MethodPatch, location, part); err != nil {
				return err
			}
			location = resp.Header.Get("Location")
		}
		_, err = c.want(p, http.StatusCreated, http.MethodPut, location+"&digest="+d, nil)
		return err
	}
}

func (c *client) deleteImage(p *process) error {
	digests := slices.Sorted(maps.Keys(c.images))
	d := digests[c.rng.IntN(len(digests))]
	c.unsureImages[d] = c.images[d]
	delete(c.images, d)
	for tag, to := range c.tags {
		if to == d {
			c.unsureTags[tag] = true
			delete(c.tags, tag)
		}
	}
	_, err := c.want(p, http.StatusAccepted, http.MethodDelete, "/v2/"+c.repo+"/manifests/"+d, nil)
	if err == nil {
		delete(c.unsureImages, d)
		clear(c.unsureTags)
	}
	return err
}

func (c *client) deleteTag(p *process) error {
	for tag := range c.tags {
		c.unsureTags[tag] = true
		delete(c.tags, tag)
		_, err := c.want(p, http.StatusAccepted, http.MethodDelete, "/v2/"+c.repo+"/manifests/"+tag, nil)
		if err == nil {
			delete(c.unsureTags, tag)
		}
		return err
	}
	return nil
}

// verify pulls everything that must be there, and settles what was unsure by
// what the registry says now.
func (c *client) verify(t *testing.T, p *process) {
	t.Helper()
	get := func(path string) (int, []byte) {
		resp, body, err := p.do(http.MethodGet, "/v2/"+c.repo+path, nil)
		if err != nil {
			t.Fatalf("%s%s: %v", c.repo, path, err)
		}
		return resp.StatusCode, body
	}
	for d, im := range c.unsureImages {
		if status, _ := get("/manifests/" + d); status == http.StatusOK {
			c.images[d] = im
		}
	}
	for tag := range c.unsureTags {
		delete(c.tags, tag)
		if status, manifest := get("/manifests/" + tag); status == http.StatusOK {
			c.tags[tag] = digestOf(manifest)
		}
	}
	clear(c.unsureImages)
	clear(c.unsureTags)
	for d, im := range c.images {
		if status, manifest := get("/manifests/" + d); status != http.StatusOK || !bytes.Equal(manifest, im.manifest) {
			t.Errorf("%s@%s: %d, %d bytes", c.repo, d, status, len(manifest))
		}
		for _, b := range im.blobs {
			if status, content := get("/blobs/" + digestOf(b)); status != http.StatusOK || !bytes.Equal(content, b) {
				t.Errorf("blob of %s@%s: %d, %d bytes, want %d", c.repo, d, status, len(content), len(b))
			}
		}
	}
	for tag, d := range c.tags {
		if _, known := c.images[d]; !known {
			t.Errorf("%s:%s points to %s, which is not there", c.repo, tag, d)
		}
		if status, manifest := get("/manifests/" + tag); status != http.StatusOK || digestOf(manifest) != d {
			t.Errorf("%s:%s: %d, %s, want %s", c.repo, tag, status, digestOf(manifest), d)
		}
	}
}
