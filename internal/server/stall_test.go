package server

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/registry"
)

// raw opens a connection and sends text on it as it is.
func (h *host) raw(address, text string) net.Conn {
	h.t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// A client that announces a body and sends none holds its connection no longer
// than a body may stand still, whatever it asks for, and with no credential.
func TestBodyThatNeverComes(t *testing.T) {
	const idle = 300 * time.Millisecond
	for _, users := range []string{"", htpasswdFile(t, "alice", "secret")} {
		h := start(t, func(o *Options) {
			o.Htpasswd, o.MetricsListen = users, "127.0.0.1:0"
			o.Limits, o.ShutdownTimeout = registry.Limits{BodyIdle: idle, UploadWait: idle / 3}, 5*time.Second
		})
		var waiting sync.WaitGroup
		main, side := h.Addr().String(), h.side.Addr().String()
		for _, c := range []struct{ address, line, header string }{
			{main, "GET /v2/", ""},
			{main, "GET /healthz", ""},
			{main, "HEAD /v2/a/manifests/v1", ""},
			{main, "PUT /v2/-/repositories/foo", ""},
			{main, "DELETE /v2/a/manifests/v1", ""},
			{main, "PUT /v2/a/manifests/v1", ""},
			{main, "POST /v2/a/blobs/uploads/", ""},
			{main, "BREW /nowhere", ""},
			// What net/http answers itself, without asking the handler.
			{main, "OPTIONS *", ""},
			{main, "GET /v2/", "Expect: miracles\r\n"},
			{side, "GET /healthz", ""},
		} {
			for _, length := range []string{"Content-Length: 10", "Transfer-Encoding: chunked"} {
				conn := h.raw(c.address, c.line+" HTTP/1.1\r\nHost: x\r\n"+c.header+length+"\r\n\r\n")
				waiting.Go(func() {
					_ = conn.SetReadDeadline(time.Now().Add(10 * idle))
					start := time.Now()
					if answer, err := io.ReadAll(conn); err != nil {
						t.Errorf("%s with %s: after %s: %q, %v", c.line, length, time.Since(start), answer, err)
					}
				})
			}
		}
		waiting.Wait()
		stopping := time.Now()
		if err := h.stop(); err != nil || time.Since(stopping) > 10*time.Second {
			t.Errorf("stop took %s: %v", time.Since(stopping), err)
		}
	}
}

// What bounds a body bounds nothing else: neither a handler that is at work for
// longer, nor an upload that moves, nor what comes next on the connection.
func TestBodyDeadlineBoundsTheBodyOnly(t *testing.T) {
	const idle = 400 * time.Millisecond
	h := start(t, func(o *Options) { o.Limits = registry.Limits{BodyIdle: idle} })
	inner := h.http.Handler
	h.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Slow") != "" {
			_, _ = io.ReadAll(r.Body)
			select {
			case <-time.After(3 * idle):
			case <-r.Context().Done():
				t.Error("the request was cancelled while the handler was at work")
			}
		}
		inner.ServeHTTP(w, r)
	})
	conn := h.raw(h.Addr().String(), "")
	answers := bufio.NewReader(conn)
	for i, request := range []string{
		"GET /v2/ HTTP/1.1\r\nHost: x\r\nSlow: 1\r\nContent-Length: 3\r\n\r\nabc",
		"GET /v2/ HTTP/1.1\r\nHost: x\r\nSlow: 1\r\n\r\n",
		"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
		"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		if resp.StatusCode != http.StatusOK {
			t.Errorf("answer %d: %s", i, resp.Status)
		}
		time.Sleep(2 * idle) // between requests other bounds hold
	}
}

// An upload that takes several times as long as a body may stand still goes
// through as long as it moves, by HTTP/1 and by HTTP/2.
func TestSlowUploadGoesOn(t *testing.T) {
	certFile, keyFile := t.TempDir()+"/crt", t.TempDir()+"/key"
	pool := writeCertificate(t, certFile, keyFile, 1)
	for _, http2 := range []bool{false, true} {
		h := start(t, func(o *Options) {
			o.Limits = registry.Limits{BodyIdle: 400 * time.Millisecond}
			o.TLSCert, o.TLSKey = certFile, keyFile
		})
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		client := &http.Client{Transport: transport}
		content := []byte("0123456789abcdef")
		r, w := io.Pipe()
		go func() {
			for i := range content {
				_, _ = w.Write(content[i : i+1])
				time.Sleep(100 * time.Millisecond)
			}
			_ = w.Close()
		}()
		req, err := http.NewRequest(http.MethodPost, h.url+"/v2/a/blobs/uploads/?digest="+digestOf(content), r)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("HTTP/2 %v: %v", http2, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated || (resp.ProtoMajor == 2) != http2 {
			t.Errorf("%s %s", resp.Proto, resp.Status)
		}
		transport.CloseIdleConnections()
	}
}

// By HTTP/2 nothing waits for a body that nobody reads, and a deadline that
// passed would end the body for good: one that is read late is there.
func TestLateReadByHTTP2(t *testing.T) {
	const idle = 200 * time.Millisecond
	certFile, keyFile := t.TempDir()+"/crt", t.TempDir()+"/key"
	pool := writeCertificate(t, certFile, keyFile, 1)
	h := start(t, func(o *Options) {
		o.Limits, o.TLSCert, o.TLSKey = registry.Limits{BodyIdle: idle}, certFile, keyFile
	})
	h.http.Handler = observe(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		time.Sleep(3 * idle) // as for an upload's lock
		if got, err := io.ReadAll(r.Body); len(got) != len(largeBlob) || err != nil {
			t.Errorf("%d bytes of %d, %v", len(got), len(largeBlob), err)
		}
	}), routeName, h.Server.log, h.metrics.Requests, time.Minute)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Post(h.url, "text/plain", bytes.NewReader(largeBlob))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// stalledGet asks for a blob by a connection with small buffers that nobody
// reads from.
func (h *host) stalledGet(path string) *net.TCPConn {
	h.t.Helper()
	c := h.raw(h.Addr().String(), "").(*net.TCPConn)
	if err := c.SetReadBuffer(4096); err != nil {
		h.t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// largeBlob is more than the kernel's buffers take.
var largeBlob = bytes.Repeat([]byte("0123456789abcdef"), 2<<20)

func TestReaderThatStopsIsCut(t *testing.T) {
	certFile, keyFile := t.TempDir()+"/crt", t.TempDir()+"/key"
	pool := writeCertificate(t, certFile, keyFile, 1)
	for _, secure := range []bool{false, true} {
		h := start(t, func(o *Options) { o.AnswerIdle = 300 * time.Millisecond })
		path := "/v2/a/blobs/" + h.pushBlob("a", largeBlob)
		dir := h.data.Path
		if secure {
			if err := h.stop(); err != nil {
				t.Fatal(err)
			}
			h = start(t, func(o *Options) {
				o.AnswerIdle, o.Data = 300*time.Millisecond, dir
				o.TLSCert, o.TLSKey = certFile, keyFile
			})
		}
		for _, http2 := range []bool{false, true} {
			if !secure && http2 {
				continue
			}
			if !secure {
				h.stalledGet(path)
			} else {
				transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
				resp, err := (&http.Client{Transport: transport}).Get(h.url + path)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
			}
			eventually(t, "the request", func() bool { return h.active.Load() > 0 })
			eventually(t, "its end", func() bool { return h.active.Load() == 0 })
		}
		stopping := time.Now()
		if err := h.stop(); err != nil || time.Since(stopping) > 10*time.Second {
			t.Errorf("stop took %s: %v", time.Since(stopping), err)
		}
	}
}

// A client that reads slowly, for much longer than it may stand still, gets all
// of it; and so does one that asks again on the same connection.
func TestReaderThatMovesIsNotCut(t *testing.T) {
	const idle = 500 * time.Millisecond
	h := start(t, func(o *Options) { o.AnswerIdle = idle })
	path := "/v2/a/blobs/" + h.pushBlob("a", largeBlob)
	conn := h.raw(h.Addr().String(), "")
	answers := bufio.NewReader(conn)
	for range 2 {
		if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for err == nil {
			var n int64
			n, err = io.CopyN(io.Discard, resp.Body, 1<<20)
			total += n
			time.Sleep(idle / 8)
		}
		if err != io.EOF || total != int64(len(largeBlob)) || time.Since(begin) < 3*idle {
			t.Errorf("%d bytes of %d in %s, %v", total, len(largeBlob), time.Since(begin), err)
		}
		time.Sleep(idle + idle/2) // what bounded this answer is over by the next one
	}
}

// A large answer from memory is bounded as one from a file is.
func TestReaderOfAWriteIsCut(t *testing.T) {
	h := start(t, func(o *Options) { o.AnswerIdle = 300 * time.Millisecond })
	failed := make(chan error, 1)
	observed := observe(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(largeBlob)))
		_, err := w.Write(largeBlob)
		failed <- err
	}), routeName, h.Server.log, h.metrics.Requests, h.opts.AnswerIdle)
	h.http.Handler = observed
	h.stalledGet("/v2/")
	select {
	case err := <-failed:
		if err == nil || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("the write ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("a client that does not read holds the handler")
	}
}
