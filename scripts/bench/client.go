package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// client speaks the OCI distribution API to one peer. It is the same code for every peer, plain net/http with
// keep-alives, and it checks every answer: a fast wrong answer is a failed run.
type client struct {
	base    string // http://127.0.0.1:port
	http    *http.Client
	patched bool // upload by PATCH then PUT instead of one PUT
	head    http.Header
	buffers sync.Pool
}

func newClient(base string, patched bool) *client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	c := &client{
		base:    base,
		patched: patched,
		http: &http.Client{Transport: &http.Transport{
			// A Location or a redirect to another machine would measure (and load) somebody else.
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
					return nil, fmt.Errorf("refusing to dial %s: this driver stays on the loopback", addr)
				}
				return dialer.DialContext(ctx, network, addr)
			},
			MaxIdleConnsPerHost:   256,
			DisableCompression:    true,
			ReadBufferSize:        64 << 10,
			WriteBufferSize:       64 << 10,
			ResponseHeaderTimeout: 60 * time.Second,
		}},
		// Shared by all requests that add nothing to it; net/http does not write to it.
		head: http.Header{
			"Accept":     {mediaManifest + ", application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json"},
			"User-Agent": {"slipway-bench/1"},
		},
		buffers: sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }},
	}
	return c
}

func (c *client) close() { c.http.CloseIdleConnections() }

// errBody is how much of an unexpected answer is shown.
const errBody = 512

// do sends a request and returns the answer if its status is one of those expected. size < 0 means no body.
func (c *client) do(ctx context.Context, method, target string, header http.Header, body io.Reader, size int64, want ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, target, err)
	}
	if header == nil {
		header = c.head
	}
	req.Header = header
	if size >= 0 {
		req.ContentLength = size
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	for _, w := range want {
		if resp.StatusCode == w {
			return resp, nil
		}
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, errBody))
	resp.Body.Close()
	return nil, fmt.Errorf("%s %s: status %d, want %v: %s", method, target, resp.StatusCode, want, bytes.TrimSpace(text))
}

// finish reads an answer's body to its end, so that the connection is used again.
func (c *client) finish(resp *http.Response) (int64, error) {
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	defer resp.Body.Close()
	var n int64
	for {
		m, err := resp.Body.Read(*buf)
		n += int64(m)
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("read %s: %w", resp.Request.URL.Path, err)
		}
	}
}

func (c *client) manifestURL(repo, ref string) string {
	return c.base + "/v2/" + repo + "/manifests/" + ref
}
func (c *client) blobURL(repo, digest string) string {
	return c.base + "/v2/" + repo + "/blobs/" + digest
}

// headManifest asks for a manifest's descriptor; the digest and the length must be the expected ones.
func (c *client) headManifest(ctx context.Context, repo, ref string, m *manifest) error {
	resp, err := c.do(ctx, http.MethodHead, c.manifestURL(repo, ref), nil, nil, -1, http.StatusOK)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if got := resp.Header.Get("Docker-Content-Digest"); got != m.digest || resp.ContentLength != int64(len(m.raw)) {
		return fmt.Errorf("HEAD %s:%s: digest %q length %d, want %s %d", repo, ref, got, resp.ContentLength, m.digest, len(m.raw))
	}
	return nil
}

// getManifest fetches a manifest, whose bytes must be the expected ones.
func (c *client) getManifest(ctx context.Context, repo, ref string, m *manifest) error {
	resp, err := c.do(ctx, http.MethodGet, c.manifestURL(repo, ref), nil, nil, -1, http.StatusOK)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	buf := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buf)
	n, err := io.ReadFull(resp.Body, (*buf)[:min(len(m.raw)+1, len(*buf))])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("GET %s:%s: %w", repo, ref, err)
	}
	if !bytes.Equal((*buf)[:n], m.raw) {
		return fmt.Errorf("GET %s:%s: %d bytes that differ from the %d pushed", repo, ref, n, len(m.raw))
	}
	return nil
}

func (c *client) putManifest(ctx context.Context, repo, ref string, m *manifest) error {
	h := c.head.Clone()
	h.Set("Content-Type", mediaManifest)
	resp, err := c.do(ctx, http.MethodPut, c.manifestURL(repo, ref), h, bytes.NewReader(m.raw), int64(len(m.raw)), http.StatusCreated)
	if err != nil {
		return err
	}
	_, err = c.finish(resp)
	return err
}

// headBlob says whether a repository has a blob.
func (c *client) headBlob(ctx context.Context, repo, digest string) (bool, error) {
	resp, err := c.do(ctx, http.MethodHead, c.blobURL(repo, digest), nil, nil, -1, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK, nil
}

// getBlob pulls a blob and checks its length; the bytes are checked once, when a workload is prepared.
func (c *client) getBlob(ctx context.Context, repo, digest string, size int64) error {
	return c.getLength(ctx, c.blobURL(repo, digest), size)
}

func (c *client) getLength(ctx context.Context, target string, size int64) error {
	resp, err := c.do(ctx, http.MethodGet, target, nil, nil, -1, http.StatusOK)
	if err != nil {
		return err
	}
	n, err := c.finish(resp)
	if err == nil && n != size {
		err = fmt.Errorf("GET %s: %d bytes, want %d", target, n, size)
	}
	return err
}

// pushBlob uploads a blob as the specification says: POST, then wherever the Location leads.
func (c *client) pushBlob(ctx context.Context, repo string, p *payload) error {
	resp, err := c.do(ctx, http.MethodPost, c.base+"/v2/"+repo+"/blobs/uploads/", nil, http.NoBody, 0, http.StatusAccepted)
	if err != nil {
		return err
	}
	return c.upload(ctx, resp, p)
}

// mountBlob makes a blob of another repository visible in repo; where the peer declines, it uploads.
func (c *client) mountBlob(ctx context.Context, repo, from string, p *payload) error {
	q := url.Values{"mount": {p.digest}, "from": {from}}.Encode()
	resp, err := c.do(ctx, http.MethodPost, c.base+"/v2/"+repo+"/blobs/uploads/?"+q, nil, http.NoBody, 0, http.StatusCreated, http.StatusAccepted)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusCreated {
		_, err = c.finish(resp)
		return err
	}
	return c.upload(ctx, resp, p)
}

// upload sends the bytes to the Location of an accepted POST.
func (c *client) upload(ctx context.Context, accepted *http.Response, p *payload) error {
	if _, err := c.finish(accepted); err != nil {
		return err
	}
	location, err := accepted.Location() // resolves a relative one against the request
	if err != nil {
		return fmt.Errorf("POST %s: %w", accepted.Request.URL, err)
	}
	h := c.head.Clone()
	h.Set("Content-Type", "application/octet-stream")
	body, size := p.body(), p.size()
	if c.patched {
		resp, err := c.do(ctx, http.MethodPatch, location.String(), h, body, size, http.StatusAccepted)
		if err != nil {
			return err
		}
		if _, err := c.finish(resp); err != nil {
			return err
		}
		if want, got := "0-"+strconv.FormatInt(size-1, 10), resp.Header.Get("Range"); strings.TrimPrefix(got, "bytes=") != want {
			return fmt.Errorf("PATCH %s: Range %q, want %q", location, got, want)
		}
		if location, err = resp.Location(); err != nil {
			return fmt.Errorf("PATCH %s: %w", resp.Request.URL, err)
		}
		body, size = http.NoBody, 0
	}
	// Appended and nothing else touched: the query is the registry's own.
	if location.RawQuery != "" {
		location.RawQuery += "&"
	}
	location.RawQuery += "digest=" + url.QueryEscape(p.digest)
	resp, err := c.do(ctx, http.MethodPut, location.String(), h, body, size, http.StatusCreated)
	if err != nil {
		return err
	}
	_, err = c.finish(resp)
	return err
}

// listTags fetches one page of tags.
func (c *client) listTags(ctx context.Context, repo string, n int, last string) ([]string, error) {
	target := c.base + "/v2/" + repo + "/tags/list?n=" + strconv.Itoa(n)
	if last != "" {
		target += "&last=" + url.QueryEscape(last)
	}
	resp, err := c.do(ctx, http.MethodGet, target, nil, nil, -1, http.StatusOK)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var page struct {
		Tags []string `json:"tags"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, fmt.Errorf("GET %s: %w", target, err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return page.Tags, err
}
