package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta"
	"github.com/slipway-oci/slipway/internal/meta/table"
)

// getManifest answers GET and HEAD of a manifest by tag or digest
// (distribution-spec end-3) with the bytes and the media type it was pushed
// with. The Accept header changes nothing: a registry that converts manifests
// answers with a digest that nobody signed. One read of the table.
func (h *Handler) getManifest(w http.ResponseWriter, r *http.Request, t target) error {
	ref, err := parseReference(t.ref)
	if err != nil {
		return err
	}
	var m meta.Manifest
	if ref.tag != "" {
		m, err = h.meta.ManifestByTag(r.Context(), t.name, ref.tag)
	} else {
		m, err = h.meta.Manifest(r.Context(), t.name, ref.digest)
	}
	if err != nil {
		return err
	}
	body, err := h.manifestBody(r.Context(), m)
	if err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", m.MediaType)
	header.Set("Docker-Content-Digest", m.Digest.String())
	header.Set("ETag", `"`+m.Digest.String()+`"`)
	if ref.tag != "" {
		header.Set("Cache-Control", "private, no-cache") // a tag moves: ask again, with the ETag
	} else {
		header.Set("Cache-Control", cacheForever)
	}
	if r.Method == http.MethodHead && r.Header.Get("If-None-Match") == "" {
		// net/http drops the body of an answer to HEAD. Behind API Gateway the
		// Content-Length is that of the body, so there has to be one.
		header.Set("Content-Length", strconv.Itoa(len(body)))
		header.Set("Accept-Ranges", "bytes")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(body)
		return nil
	}
	serveContent(w, r, bytes.NewReader(body))
	return nil
}

// manifestBody returns the bytes, which a large manifest has in the blob store.
func (h *Handler) manifestBody(ctx context.Context, m meta.Manifest) ([]byte, error) {
	if m.Key == "" {
		return m.Body, nil
	}
	rc, err := h.blobs.Read(ctx, m.Key, blob.Range{Length: -1})
	if err != nil {
		// Even blob.ErrNotFound is a failure of ours: the manifest is there.
		return nil, fmt.Errorf("read manifest %s: %w", m.Digest, hide(err))
	}
	defer rc.Close()
	body := make([]byte, m.Size)
	if _, err := io.ReadFull(rc, body); err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", m.Digest, err)
	}
	return body, nil
}

// hide keeps an error's text and forgets which error it is.
func hide(err error) error { return errors.New(err.Error()) }

// putManifest takes a manifest under a tag or its digest (distribution-spec
// end-7), byte for byte. With a digest further tags can be named in parameters.
func (h *Handler) putManifest(w http.ResponseWriter, r *http.Request, t target) error {
	ref, err := parseReference(t.ref)
	if err != nil {
		return err
	}
	tags, err := pushTags(ref, r.URL.Query())
	if err != nil {
		return err
	}
	body, err := h.readManifest(w, r)
	if err != nil {
		return err
	}
	m, err := h.decode(r.Context(), r.Header.Get("Content-Type"), body)
	if err != nil {
		return err
	}
	algorithm := digest.SHA256
	if ref.digest != "" {
		algorithm = ref.digest.Algorithm()
	}
	d := algorithm.FromBytes(body)
	if ref.digest != "" && d != ref.digest {
		return fail(http.StatusBadRequest, CodeDigestInvalid,
			"the manifest has the digest %s, not the one it was pushed by: push it by that digest or by a tag", d)
	}
	// A client that leaves now has sent everything; its retry should find it.
	if err := h.pushManifest(context.WithoutCancel(r.Context()), t.name, d, tags, m, body); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Location", (&url.URL{Path: "/v2/" + t.name + "/manifests/" + d.String()}).EscapedPath())
	header.Set("Docker-Content-Digest", d.String())
	if m.subject != "" {
		// "I keep the list of referrers": the client need not (end-7,
		// "Pushing Manifests with Subject").
		header.Set("OCI-Subject", m.subject.String())
	}
	if ref.digest != "" {
		for _, tag := range tags {
			header.Add("OCI-Tag", tag)
		}
	}
	header.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return nil
}

// pushTags returns the tags that the push sets: the reference, or with a digest
// the parameters "tag" (distribution-spec end-7b). With a tag as the reference
// the spec knows no parameters, and none is answered with OCI-Tag.
func pushTags(ref reference, q url.Values) ([]string, error) {
	if ref.tag != "" {
		return []string{ref.tag}, nil
	}
	tags := q["tag"]
	if len(tags) > meta.MaxTags {
		return nil, fail(http.StatusRequestURITooLong, CodeTagInvalid,
			"%d tags in one push are too many: send at most %d, then push again with the others", len(tags), meta.MaxTags)
	}
	for _, tag := range tags {
		if !validTag(tag) {
			return nil, errTag(tag)
		}
	}
	return tags, nil
}

// readManifest reads the body, which is small: it has to be in memory anyway to
// be checked and stored in a row.
func (h *Handler) readManifest(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limit := h.limits.ManifestBytes
	tooLarge := fail(http.StatusRequestEntityTooLarge, CodeSizeInvalid,
		"the manifest is larger than the %d bytes that this registry takes: move data from it into a layer", limit)
	if r.ContentLength > limit {
		return nil, tooLarge
	}
	body := h.newBody(w, r, time.Time{})
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	body.done()
	switch {
	case isStalled(err):
		return nil, fail(http.StatusRequestTimeout, CodeManifestInvalid,
			"no data came for %s: push the manifest again", h.limits.BodyIdle)
	case err != nil:
		return nil, fail(http.StatusBadRequest, CodeSizeInvalid, "the manifest's body ended early: push it again")
	case int64(len(data)) > limit:
		return nil, tooLarge
	}
	return data, nil
}

// Decoding takes several times the manifest's size in memory. Of large ones few
// take their turns, so that a handful of clients cannot exhaust a small machine.
const (
	largeManifest = 256 << 10 // bytes; real ones are a few KiB
	decodeAtOnce  = 4
)

// decode is decodeManifest in turn.
func (h *Handler) decode(ctx context.Context, contentType string, body []byte) (decoded, error) {
	if len(body) > largeManifest {
		select {
		case h.decoding <- struct{}{}:
			defer func() { <-h.decoding }()
		case <-ctx.Done():
			return decoded{}, fmt.Errorf("wait to decode a manifest: %w", ctx.Err())
		}
	}
	return decodeManifest(contentType, body, h.limits.References)
}

// pushManifest makes the manifest visible with its tags and its place among the
// subject's referrers, all at once.
func (h *Handler) pushManifest(ctx context.Context, name string, d digest.Digest, tags []string, m decoded, body []byte) error {
	push := meta.Push{
		Repository:   name,
		Digest:       d,
		MediaType:    m.mediaType,
		Size:         int64(len(body)),
		Body:         body,
		Tags:         tags,
		Blobs:        m.blobs,
		Manifests:    m.manifests,
		Either:       m.either,
		Optional:     m.foreign,
		AllowMissing: h.allowMissing,
	}
	if m.subject != "" {
		push.Referrer = &meta.Referrer{
			Subject: m.subject,
			Descriptor: ocispec.Descriptor{
				MediaType:    m.mediaType,
				Digest:       d,
				Size:         int64(len(body)),
				ArtifactType: m.artifactType,
				Annotations:  m.annotations,
			},
		}
	}
	if len(body) > meta.InlineManifest {
		if err := h.storeManifest(ctx, name, d, body); err != nil {
			return err
		}
		push.Body = nil
	}
	err := h.meta.PushManifest(ctx, push)
	switch {
	case errors.Is(err, meta.ErrTooManyReferences):
		return errManifest("it refers to more content than this registry takes, which is %d pieces", meta.MaxReferences)
	case errors.Is(err, table.ErrLimit):
		// The checks before should have found it. Trying again cannot help.
		e := errManifest("it takes more room than the registry has for a manifest: shorten its annotations, or let it refer to less content")
		e.cause = err
		return e
	}
	return err
}

// storeManifest puts the bytes of a large manifest into the blob store, as a
// blob of the repository. If the push fails it is a blob that nothing needs.
func (h *Handler) storeManifest(ctx context.Context, name string, d digest.Digest, body []byte) error {
	if h.isThere(ctx, name, d) {
		return nil
	}
	up, err := h.meta.StartUpload(ctx, name, d.Algorithm())
	if err != nil {
		return err
	}
	content, err := h.blobs.Begin(up.Content.Key, d.Algorithm())
	if err == nil {
		content, err = h.blobs.Append(ctx, content, bytes.NewReader(body), int64(len(body)))
	}
	if err != nil {
		h.cancel(ctx, up)
		return fmt.Errorf("store manifest %s: %w", d, err)
	}
	up.Content = content
	return h.complete(ctx, up, d)
}

// deleteManifest removes a tag, or a manifest with all its tags
// (distribution-spec end-9).
func (h *Handler) deleteManifest(w http.ResponseWriter, r *http.Request, t target) error {
	ref, err := parseReference(t.ref)
	if err != nil {
		return err
	}
	if ref.tag != "" {
		err = h.meta.DeleteTag(r.Context(), t.name, ref.tag)
	} else {
		err = h.meta.DeleteManifest(r.Context(), t.name, ref.digest)
	}
	if err != nil {
		return err
	}
	accepted(w)
	return nil
}
