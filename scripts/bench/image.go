package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// manifest is an image manifest as it goes over the wire.
type manifest struct {
	raw    []byte
	digest string
}

// image is what a workload pushes and pulls: a config, some layers and the manifest that names them.
type image struct {
	manifest *manifest
	config   *payload
	layers   []*payload
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// newImage puts a manifest on top of a config and layers.
func newImage(config *payload, layers ...*payload) *image {
	doc := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{SchemaVersion: 2, MediaType: mediaManifest, Config: descriptor{mediaConfig, config.digest, config.size()}}
	for _, l := range layers {
		doc.Layers = append(doc.Layers, descriptor{mediaLayer, l.digest, l.size()})
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		panic("a manifest of strings and numbers did not marshal: " + err.Error())
	}
	return &image{manifest: &manifest{raw: raw, digest: digestOf(raw)}, config: config, layers: layers}
}

// push does what clients do: ask for every blob, upload those that are missing, then put the manifest. It returns the
// bytes that were uploaded.
func (c *client) push(ctx context.Context, repo, tag string, img *image) (int64, error) {
	var sent int64
	blob := func(p *payload) error {
		has, err := c.headBlob(ctx, repo, p.digest)
		if err != nil || has {
			return err
		}
		sent += p.size()
		return c.pushBlob(ctx, repo, p)
	}
	for _, l := range img.layers {
		if err := blob(l); err != nil {
			return sent, err
		}
	}
	if err := blob(img.config); err != nil {
		return sent, err
	}
	return sent, c.putManifest(ctx, repo, tag, img.manifest)
}

// pull does what containerd does on a node that has nothing: resolve the tag by HEAD, fetch the manifest by digest, then
// config and layers, one after the other. It returns the bytes that came.
func (c *client) pull(ctx context.Context, repo, tag string, img *image) (int64, error) {
	if err := c.headManifest(ctx, repo, tag, img.manifest); err != nil {
		return 0, err
	}
	if err := c.getManifest(ctx, repo, img.manifest.digest, img.manifest); err != nil {
		return 0, err
	}
	n := int64(len(img.manifest.raw))
	if err := c.getBlob(ctx, repo, img.config.digest, img.config.size()); err != nil {
		return n, err
	}
	n += img.config.size()
	for _, l := range img.layers {
		if err := c.getBlob(ctx, repo, l.digest, l.size()); err != nil {
			return n, err
		}
		n += l.size()
	}
	return n, nil
}

// verifyBlob pulls a blob and hashes it. Only outside the timed part.
func (c *client) verifyBlob(ctx context.Context, repo string, p *payload) error {
	resp, err := c.do(ctx, http.MethodGet, c.blobURL(repo, p.digest), nil, nil, -1, http.StatusOK)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	h := sha256.New()
	if _, err := io.Copy(h, resp.Body); err != nil {
		return fmt.Errorf("verify %s: %w", p.digest, err)
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != p.digest {
		return fmt.Errorf("verify %s: the peer sent bytes of digest %s", p.digest, got)
	}
	return nil
}
