package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is a slipway that really runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	errout *bytes.Buffer
	waited func() error
}

func command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asSlipway+"=1")
	return cmd
}

// serve starts `slipway serve` on a free port and reads from its banner where
// it listens.
func serve(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := command(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	p := &process{t: t, cmd: cmd, errout: new(bytes.Buffer)}
	cmd.Stderr = p.errout
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var banner strings.Builder
	lines := bufio.NewScanner(io.TeeReader(out, &banner))
	listens := regexp.MustCompile(`listens on\s+(http\S+)`)
	for lines.Scan() && p.url == "" {
		if m := listens.FindStringSubmatch(lines.Text()); m != nil {
			p.url = m[1]
		}
	}
	// Wait closes the pipe, so it has to come after the reading.
	drained := make(chan struct{})
	go func() {
		for lines.Scan() {
		}
		close(drained)
	}()
	p.waited = sync.OnceValue(func() error {
		<-drained
		return cmd.Wait()
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = p.waited()
	})
	if p.url == "" {
		_ = p.waited()
		t.Fatalf("slipway serve ended:\n%s%s", &banner, p.errout)
	}
	return p
}

func (p *process) stop(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
	return p.waited()
}

func (p *process) do(method, path string, body []byte, header ...string) (*http.Response, []byte, error) {
	if strings.HasPrefix(path, "/") {
		path = p.url + path
	}
	req, err := http.NewRequest(method, path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp, raw, err
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (p *process) pushBlob(repo string, content []byte) error {
	resp, body, err := p.do(http.MethodPost, "/v2/"+repo+"/blobs/uploads/?digest="+digestOf(content), content,
		"Content-Type", "application/octet-stream")
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("blob: %s %s", resp.Status, body)
	}
	return nil
}

// pushImage pushes an image of one layer; nil means that it was acknowledged.
func (p *process) pushImage(repo, tag string, layer []byte) error {
	config := []byte("{}")
	for _, b := range [][]byte{config, layer} {
		if err := p.pushBlob(repo, b); err != nil {
			return err
		}
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`,
		digestOf(config), len(config), digestOf(layer), len(layer))
	resp, body, err := p.do(http.MethodPut, "/v2/"+repo+"/manifests/"+tag, manifest,
		"Content-Type", "application/vnd.oci.image.manifest.v1+json")
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("manifest: %s %s", resp.Status, body)
	}
	return nil
}

func TestSecondStartOnTheSameData(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	first := serve(t, "--data", data)
	if err := first.pushImage("team/app", "v1", []byte("layer")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"serve", "--listen", "127.0.0.1:0", "--data", data},
		{"gc", "--once", "--data", data},
	} {
		out, err := command(args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "in use by another process") {
			t.Errorf("slipway %s beside a running one: %v\n%s", args[0], err, out)
		}
		if args[0] == "gc" && !strings.Contains(string(out), "collects by itself") {
			t.Errorf("gc does not say what to do: %s", out)
		}
	}
	if err := first.stop(syscall.SIGTERM); err != nil {
		t.Errorf("after SIGTERM: %v\n%s", err, first.errout)
	}
	second := serve(t, "--data", data)
	if resp, body, err := second.do(http.MethodGet, "/v2/team/app/manifests/v1", nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("after the restart: %v %s", err, body)
	}
	if err := second.stop(os.Interrupt); err != nil {
		t.Errorf("after an interrupt: %v\n%s", err, second.errout)
	}
	out, err := command("gc", "--once", "--ignore-grace", "--data", data).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "freed 0 bytes") {
		t.Errorf("gc: %v\n%s", err, out)
	}
}

// What was acknowledged before a kill is there after it.
func TestKill(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	acknowledged := map[string][]byte{} // tag -> layer
	for round := range 3 {
		p := serve(t, "--data", data, "--log-level", "error")
		var mu sync.Mutex
		enough := make(chan struct{})
		before := len(acknowledged)
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for n := 0; ; n++ {
					tag := fmt.Sprintf("r%d-w%d-n%d", round, worker, n)
					layer := bytes.Repeat([]byte(tag+" "), 5000)
					if p.pushImage("team/app", tag, layer) != nil {
						return // the kill
					}
					mu.Lock()
					acknowledged[tag] = layer
					if len(acknowledged) == before+5 {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		select {
		case <-enough: // and all workers are in the middle of the next one
		case <-time.After(30 * time.Second):
			t.Error("five images take more than half a minute")
		}
		time.Sleep(time.Duration(7*round) * time.Millisecond)
		if err := p.stop(syscall.SIGKILL); err == nil {
			t.Error("a killed process ended well")
		}
		wg.Wait()
	}

	p := serve(t, "--data", data)
	for tag, layer := range acknowledged {
		resp, manifest, err := p.do(http.MethodGet, "/v2/team/app/manifests/"+tag, nil)
		if err != nil || resp.StatusCode != 200 || !strings.Contains(string(manifest), digestOf(layer)) {
			t.Fatalf("%s: %v %s", tag, err, manifest)
		}
		resp, body, err := p.do(http.MethodGet, "/v2/team/app/blobs/"+digestOf(layer), nil)
		if err != nil || resp.StatusCode != 200 || !bytes.Equal(body, layer) {
			t.Fatalf("layer of %s: %v, %d bytes", tag, err, len(body))
		}
	}
	t.Logf("%d images survived 3 kills", len(acknowledged))
}

// The first signal waits for what is in flight, the second one does not.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := serve(t, "--data", filepath.Join(t.TempDir(), "data"))
	r, w := io.Pipe()
	defer w.Close()
	req, err := http.NewRequest(http.MethodPost, p.url+"/v2/a/blobs/uploads/?digest="+digestOf([]byte("never")), r)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}()
	if _, err := w.Write([]byte("ne")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // the request is being handled
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.waited() }()
	select {
	case err := <-ended:
		t.Fatalf("the first signal ended it (%v) with an upload in flight:\n%s", err, p.errout)
	case <-time.After(500 * time.Millisecond):
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("ended well with an upload cut off")
		}
	case <-time.After(10 * time.Second):
		t.Error("the second signal did not end it")
	}
}
