package registry

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/slipway-oci/slipway/internal/blob"
	"github.com/slipway-oci/slipway/internal/meta"
)

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

const emptyDigest = anyDigest

func TestUploadMonolithic(t *testing.T) {
	f := newFixture(t)
	there := map[string]string{"Location": "/v2/a/blobs/" + sha("hello"), "Docker-Content-Digest": sha("hello"), "Content-Length": "0"}
	f.run( // POST, PUT: containerd, oras, helm, regctl
		step{do: "POST /v2/a/blobs/uploads/", status: 202, want: map[string]string{"Location": "*", "Range": "0-0", "Docker-Upload-UUID": "*", "Content-Length": "0", "OCI-Chunk-Min-Length": ""}},
		step{do: "PUT $loc&digest=" + sha("hello"), body: "hello", status: 201, want: there},
		step{do: "GET $loc", status: 200, text: "hello"},
	)
	f.run( // POST, PATCH as one stream, PUT: Docker classic, skopeo, crane
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "PATCH $loc", body: "hello", status: 202, want: map[string]string{"Range": "0-4", "Location": "*", "Docker-Upload-UUID": "*"}},
		step{do: "PUT $loc&digest=" + sha("hello"), status: 201, want: there},
	)
	f.run( // One POST
		step{do: "POST /v2/a/blobs/uploads/?digest=" + sha("one post"), body: "one post", status: 201},
		step{do: "GET $loc", status: 200, text: "one post"},
		step{do: "POST /v2/a/blobs/uploads/?digest=" + sha("one"), body: "two", status: 400, code: CodeDigestInvalid},
		step{do: "GET /v2/a/blobs/" + sha("one"), status: 404, code: CodeBlobUnknown},
		step{do: "POST /v2/a/blobs/uploads/?digest=", body: "two", status: 400, code: CodeDigestInvalid},
		step{do: "POST /v2/a/blobs/uploads/?digest=sha1:abc", body: "two", status: 400, code: CodeDigestInvalid},
		step{do: "POST /v2/a/blobs/uploads/?digest=" + emptyDigest, status: 201},
		step{do: "GET $loc", status: 200, want: map[string]string{"Content-Length": "0"}},
	)
	f.run( // The empty blob in two and in three steps
		step{do: "POST /v2/b/blobs/uploads", status: 202},
		step{do: "PUT $loc&digest=" + emptyDigest, status: 201},
		step{do: "HEAD $loc", status: 200},
		step{do: "POST /v2/c/blobs/uploads/", status: 202},
		step{do: "PATCH $loc", status: 202, want: map[string]string{"Range": "0-0"}},
		step{do: "PUT $loc&digest=" + emptyDigest, status: 201},
	)
	f.run( // sha512, announced or not
		step{do: "POST /v2/a/blobs/uploads/?digest-algorithm=sha512", status: 202},
		step{do: "PATCH $loc", body: "long hash", status: 202},
		step{do: "PUT $loc&digest=" + sha512("long hash"), status: 201},
		step{do: "GET $loc", status: 200, text: "long hash"},
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "PUT $loc&digest=" + sha512("at the end"), body: "at the end", status: 201},
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "PATCH $loc", body: "changed ", status: 202},
		step{do: "PUT $loc&digest=" + sha512("changed mind"), body: "mind", status: 201},
		step{do: "GET $loc", status: 200, text: "changed mind"},
		step{do: "POST /v2/a/blobs/uploads/?digest-algorithm=md5", status: 400, code: CodeDigestInvalid},
	)
}

func TestUploadDigestMismatchCancels(t *testing.T) {
	f := newFixture(t)
	f.run(
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "PUT $loc", body: "hello", status: 400, code: CodeDigestInvalid},
		step{do: "PUT $loc&digest=" + sha("x") + "y", body: "hello", status: 400, code: CodeDigestInvalid},
		step{do: "GET $loc", status: 204}, // nothing was read yet
		step{do: "PUT $loc&digest=" + sha("other"), body: "hello", status: 400, code: CodeDigestInvalid},
		step{do: "GET $loc", status: 404, code: CodeUploadUnknown},
		step{do: "GET /v2/a/blobs/" + sha("other"), status: 404, code: CodeBlobUnknown},
		step{do: "GET /v2/a/blobs/" + sha("hello"), status: 404, code: CodeBlobUnknown},
	)
}

func TestUploadChunks(t *testing.T) {
	f := newFixture(t)
	chunk := func(r string) []string { return []string{"Content-Range: " + r} }
	resume := map[string]string{"Location": "*", "Range": "0-2", "Docker-Upload-UUID": "*"}
	f.run(
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "GET $loc", status: 204, want: map[string]string{"Range": "0-0", "Location": "*"}},
		step{do: "PATCH $loc", header: chunk("1-3"), body: "bcd", status: 416, code: CodeUploadInvalid, want: map[string]string{"Range": "0-0", "Location": "*"}},
		step{do: "PATCH $loc", header: chunk("0-2"), body: "abc", status: 202, want: resume},
		step{do: "PATCH $loc", header: chunk("0-2"), body: "abc", status: 416, code: CodeUploadInvalid, want: resume},
		step{do: "PATCH $loc", header: chunk("2-4"), body: "cde", status: 416, code: CodeUploadInvalid, want: resume},
		step{do: "PATCH $loc", header: chunk("5-6"), body: "fg", status: 416, code: CodeUploadInvalid, want: resume},
		step{do: "GET $loc", status: 204, want: resume},
		step{do: "HEAD $loc", status: 204, want: resume},
		step{do: "PATCH $loc", header: chunk("3-9"), body: "def", status: 400, code: CodeSizeInvalid},
		step{do: "PATCH $loc", header: chunk("3-4"), body: "def", status: 400, code: CodeSizeInvalid},
		step{do: "PATCH $loc", header: chunk("x"), body: "def", status: 400, code: CodeUploadInvalid},
		step{do: "PATCH $loc", header: chunk("5-3"), body: "def", status: 400, code: CodeUploadInvalid},
		step{do: "PATCH $loc", header: chunk("3-99999999999999999999"), body: "def", status: 400, code: CodeUploadInvalid},
		step{do: "PATCH $loc", header: chunk("bytes 3-5/*"), body: "def", status: 202, want: map[string]string{"Range": "0-5"}},
		step{do: "PUT $loc&digest=" + sha("abcdefgh"), header: chunk("5-7"), body: "fgh", status: 416, code: CodeUploadInvalid},
		step{do: "PUT $loc&digest=" + sha("abcdefgh"), header: chunk("6-7"), body: "gh", status: 201},
		step{do: "GET $loc", status: 200, text: "abcdefgh"},
	)
}

// TestUploadChunkOfUnknownLength: a Content-Range without Content-Length is
// held to, too.
func TestUploadChunkOfUnknownLength(t *testing.T) {
	f := newFixture(t)
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	stream := func(s string) io.Reader { return struct{ io.Reader }{strings.NewReader(s)} }
	for _, s := range []string{"ab", "abcd"} {
		if a := f.do("PATCH", loc, stream(s), "Content-Range: 0-2"); a.StatusCode != 400 || a.codes()[0] != CodeSizeInvalid {
			t.Errorf("%q as 0-2: %d %s", s, a.StatusCode, a.body)
		}
	}
	if a := f.do("GET", loc, nil); a.Header.Get("Range") != "0-0" {
		t.Errorf("Range is %q after refused chunks", a.Header.Get("Range"))
	}
	if a := f.do("PATCH", loc, stream("abc"), "Content-Range: 0-2"); a.StatusCode != 202 || a.Header.Get("Range") != "0-2" {
		t.Errorf("%d %s %s", a.StatusCode, a.Header.Get("Range"), a.body)
	}
	if a := f.do("PATCH", loc, stream("def")); a.StatusCode != 202 || a.Header.Get("Range") != "0-5" {
		t.Errorf("%d %s %s", a.StatusCode, a.Header.Get("Range"), a.body)
	}
}

func TestUploadCancelAndUnknown(t *testing.T) {
	f := newFixture(t)
	f.run(
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "PATCH $loc", body: "abc", status: 202},
		step{do: "DELETE $loc", status: 204},
		step{do: "DELETE $loc", status: 404, code: CodeUploadUnknown},
		step{do: "GET $loc", status: 404, code: CodeUploadUnknown},
		step{do: "PATCH $loc", body: "abc", status: 404, code: CodeUploadUnknown},
		step{do: "PUT $loc&digest=" + sha("abc"), body: "abc", status: 404, code: CodeUploadUnknown},
		step{do: "GET /v2/a/blobs/uploads/UPPER", status: 404, code: CodeUploadUnknown},
		step{do: "GET /v2/a/blobs/uploads/" + strings.Repeat("a", 65), status: 404, code: CodeUploadUnknown},
	)
}

// TestUploadPutAgain: the answer to a PUT was lost and the client repeats it.
func TestUploadPutAgain(t *testing.T) {
	f := newFixture(t)
	f.run(
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
	)
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	f.run(
		step{do: "PUT " + loc + "&digest=" + sha("abc"), body: "abc", status: 201},
		step{do: "PUT " + loc + "&digest=" + sha("abc"), body: "abc", status: 201, want: map[string]string{"Docker-Content-Digest": sha("abc")}},
		step{do: "PUT " + loc + "&digest=" + sha("abd"), body: "abd", status: 404, code: CodeUploadUnknown},
	)
}

// TestUploadConventionalPath: the address that tools build by hand.
func TestUploadConventionalPath(t *testing.T) {
	f := newFixture(t)
	a := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202})
	path := "/v2/a/blobs/uploads/" + a.Header.Get("Docker-Upload-UUID")
	f.run(
		step{do: "PATCH " + path, body: "abc", status: 202, want: map[string]string{"Range": "0-2"}},
		step{do: "GET " + path, status: 204},
		step{do: "GET " + strings.Replace(path, "/a/", "/b/", 1), status: 404, code: CodeUploadUnknown},
		step{do: "PUT " + path + "?digest=" + sha("abc"), status: 201},
		step{do: "DELETE " + path, status: 404, code: CodeUploadUnknown},
	)
}

func TestUploadBlobLimit(t *testing.T) {
	f := newFixture(t, func(c *Config, _ *meta.Options) { c.Limits.BlobBytes = 5 })
	f.run(
		step{do: "POST /v2/a/blobs/uploads/?digest=" + sha("123456"), body: "123456", status: 413, code: CodeSizeInvalid},
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "PATCH $loc", body: "123456", status: 413, code: CodeSizeInvalid},
		step{do: "PATCH $loc", body: "1234", status: 202},
		step{do: "PATCH $loc", body: "56", status: 413, code: CodeSizeInvalid},
		step{do: "PUT $loc&digest=" + sha("12345"), body: "5", status: 201},
	)
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	if a := f.do("PATCH", loc, struct{ io.Reader }{strings.NewReader("123456")}); a.StatusCode != 413 {
		t.Errorf("a stream over the limit: %d", a.StatusCode)
	}
}

func TestUploadTooMany(t *testing.T) {
	f := newFixture(t, func(_ *Config, o *meta.Options) { o.MaxUploads = 2 })
	f.run(
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "POST /v2/a/blobs/uploads/", status: 202},
		step{do: "POST /v2/a/blobs/uploads/", status: 429, code: CodeTooManyRequests, want: map[string]string{"Retry-After": "*"}},
	)
}

// TestUploadResumesWhatArrived: a client whose connection broke goes on where
// the registry is.
func TestUploadResumesWhatArrived(t *testing.T) {
	f := newFixture(t)
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	conn, err := net.Dial("tcp", f.server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabcd", loc)
	conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 400 || resp.Header.Get("Range") != "0-3" {
		t.Errorf("status %d, Range %q", resp.StatusCode, resp.Header.Get("Range"))
	}
	conn.Close()
	f.run(
		step{do: "GET " + loc, status: 204, want: map[string]string{"Range": "0-3"}},
		step{do: "PATCH " + loc, header: []string{"Content-Range: 4-5"}, body: "ef", status: 202},
		step{do: "PUT " + loc + "&digest=" + sha("abcdef"), status: 201},
	)
}

// TestUploadOneWriterAtATime: a second request gives up with 409, and goes on
// when the first is done.
func TestUploadOneWriterAtATime(t *testing.T) {
	f := newFixture(t, func(c *Config, _ *meta.Options) { c.Limits.UploadWait = 50 * time.Millisecond })
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	inside := make(chan struct{})
	f.blobHook.Before = func(c blob.Call) error {
		if c.Op == blob.OpAppend {
			close(inside)
		}
		return nil
	}
	r, w := io.Pipe()
	var done sync.WaitGroup
	done.Go(func() {
		if a := f.do("PATCH", loc, r); a.StatusCode != 202 {
			t.Errorf("first: %d %s", a.StatusCode, a.body)
		}
	})
	io.WriteString(w, "abc")
	<-inside
	f.run(
		step{do: "PATCH " + loc, body: "def", status: 409, code: CodeUploadInvalid},
		step{do: "PUT " + loc + "&digest=" + sha("abc"), status: 409, code: CodeUploadInvalid},
		step{do: "GET " + loc, status: 204},
	)
	w.Close()
	done.Wait()
	f.run(step{do: "PUT " + loc + "&digest=" + sha("abc"), status: 201})
	if len(f.handler.writing.held) != 0 {
		t.Errorf("locks are left: %v", f.handler.writing.held)
	}
}

func TestMount(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("from/here", "shared")
	d := sha("shared")
	there := map[string]string{"Location": "/v2/to/blobs/" + d, "Docker-Content-Digest": d}
	f.run(
		step{do: "POST /v2/to/blobs/uploads/?mount=" + d + "&from=from/here", status: 201, want: there},
		step{do: "GET $loc", status: 200, text: "shared"},
		step{do: "POST /v2/auto/blobs/uploads/?mount=" + d, status: 201},
		step{do: "GET /v2/auto/blobs/" + d, status: 200, text: "shared"},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + d + "&from=to", status: 201, want: there},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + d + "&from=elsewhere&origin=example.com", status: 201, want: there}, // it is there already
		step{do: "POST /v2/x/blobs/uploads/?mount=" + d + "&from=elsewhere", status: 202, want: map[string]string{"Range": "0-0"}},
		step{do: "PUT $loc&digest=" + d, body: "shared", status: 201},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + sha("nowhere"), status: 202},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + sha("nowhere") + "&from=from/here", status: 202},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + sha512("nowhere"), status: 202},
		step{do: "PUT $loc&digest=" + sha512("nowhere"), body: "nowhere", status: 201},
		step{do: "POST /v2/to/blobs/uploads/?mount=sha256:x", status: 400, code: CodeDigestInvalid},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + d + "&from=../x", status: 400, code: CodeNameInvalid},
	)
}

// TestMountNeedsPull: a repository that the caller may not read cannot be
// mounted from, and cannot be told from one that lacks the blob.
func TestMountNeedsPull(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("secret", "s")
	f.pushBlob("open", "o")
	f.handler.auth = authorizerFunc(func(_ *http.Request, a Access) error {
		if a.Repository == "secret" {
			return fmt.Errorf("%w: %s", ErrDenied, a.Repository)
		}
		if a.Repository == "broken" {
			return errors.New("cannot tell")
		}
		return nil
	})
	f.run(
		step{do: "POST /v2/to/blobs/uploads/?mount=" + sha("s") + "&from=secret", status: 202},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + sha("s"), status: 202},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + sha("o"), status: 201},
		step{do: "POST /v2/to/blobs/uploads/?mount=" + sha("o") + "&from=broken", status: 503, code: CodeUnknown},
	)
}

func TestAuthorizer(t *testing.T) {
	f := newFixture(t)
	f.pushBlob("a", "x")
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	f.handler.auth = authorizerFunc(func(*http.Request, Access) error {
		return &Challenge{Header: `Bearer realm="https://example.com/token"`}
	})
	challenge := map[string]string{"Www-Authenticate": `Bearer realm="https://example.com/token"`}
	f.run(
		step{do: "GET /v2/", status: 401, code: CodeUnauthorized, want: challenge},
		step{do: "GET /v2/a/blobs/" + sha("x"), status: 401, code: CodeUnauthorized, want: challenge},
		step{do: "HEAD /v2/a/manifests/x", status: 401, want: challenge},
		step{do: "POST /v2/a/blobs/uploads/", status: 401, code: CodeUnauthorized, want: challenge},
		// The Location is its own right.
		step{do: "PATCH " + loc, body: "y", status: 202},
		step{do: "PUT " + loc + "&digest=" + sha("y"), status: 201},
	)
}

func TestLocation(t *testing.T) {
	now := time.Unix(1_760_000_000, 0)
	old, err := newSigner([][]byte{testKey})
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := newSigner([][]byte{[]byte(strings.Repeat("n", 40)), testKey})
	if err != nil {
		t.Fatal(err)
	}
	parse := func(loc string) (string, url.Values) {
		u, err := url.Parse(loc)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(u.Path, signedPath), u.Query()
	}
	loc := old.location("abc", "team/app", now.Add(time.Hour))
	// What clients do: append, and sort and encode again.
	id, q := parse(loc + "&digest=" + anyDigest + "&ns=example.com&mount=1")
	for _, s := range []signer{old, rotated} {
		if repo, err := s.verify(id, q, now); err != nil || repo != "team/app" {
			t.Errorf("verify = %q, %v", repo, err)
		}
	}
	wantCode := func(what string, code Code, id string, q url.Values, at time.Time) {
		t.Helper()
		var e *Error
		if _, err := old.verify(id, q, at); !errors.As(err, &e) || e.Entries[0].Code != code {
			t.Errorf("%s: %v, want %s", what, err, code)
		}
	}
	wantCode("expired", CodeUploadUnknown, id, q, now.Add(2*time.Hour))
	wantCode("another upload", CodeDenied, "abd", q, now)
	for _, name := range []string{"repo", "exp", "kid", "sig"} {
		id, q := parse(loc)
		value := q.Get(name)
		q.Del(name)
		wantCode("no "+name, CodeDenied, id, q, now)
		q[name] = []string{value, value}
		wantCode("twice "+name, CodeDenied, id, q, now)
		for _, other := range []string{"", "x", value + "A", strings.ToUpper(value) + "1", "team/other", "99999999999", "\n"} {
			q.Set(name, other)
			wantCode(name+" "+other, CodeDenied, id, q, now)
		}
	}
	// A key that is gone.
	fresh, _ := newSigner([][]byte{[]byte(strings.Repeat("n", 40))})
	if _, err := fresh.verify(id, q, now); err == nil {
		t.Error("a Location of a key that is gone verifies")
	}
	for _, keys := range [][][]byte{nil, {[]byte("short")}, {testKey, []byte("short")}} {
		if _, err := newSigner(keys); err == nil {
			t.Errorf("newSigner accepts %d keys", len(keys))
		}
	}
}

// TestLocationExample is the worked example that location.go refers to.
func TestLocationExample(t *testing.T) {
	s, err := newSigner([][]byte{[]byte("0123456789abcdef0123456789abcdef")})
	if err != nil {
		t.Fatal(err)
	}
	got := s.location("q2w3e4r5t6z7u8i9o0paysxdcf", "team/app", time.Unix(1764000000, 0))
	const want = "/v2/-/uploads/q2w3e4r5t6z7u8i9o0paysxdcf?exp=1764000000&kid=3eb1bd43&repo=team%2Fapp&sig=5Tkqt9r4t5kNZif3IhMdA7HG6hwKNOWbD6Sd4MLphCQ"
	if got != want {
		t.Errorf("location =\n%s, want\n%s", got, want)
	}
}

func TestUploadTamperedLocation(t *testing.T) {
	f := newFixture(t)
	loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
	other := strings.Replace(loc, "repo=a", "repo=b", 1)
	f.run(
		step{do: "PATCH " + other, body: "x", status: 403, code: CodeDenied},
		step{do: "GET " + strings.Split(loc, "?")[0], status: 403, code: CodeDenied},
	)
	f.handler.clock = func() time.Time { return time.Now().Add(25 * time.Hour) }
	f.run(step{do: "PATCH " + loc, body: "x", status: 404, code: CodeUploadUnknown})
}

func TestKeyedLock(t *testing.T) {
	var l keyedLock
	var wg sync.WaitGroup
	n := 0
	for range 50 {
		wg.Go(func() {
			unlock, ok := l.lock(t.Context(), "k", time.Minute)
			if !ok {
				t.Error("no turn")
				return
			}
			defer unlock()
			n++
		})
	}
	wg.Wait()
	if n != 50 || len(l.held) != 0 {
		t.Errorf("%d turns, %d keys held", n, len(l.held))
	}
}

// TestUploadLost: the store lost bytes in a crash of the machine. The client
// starts again; nothing is accepted that is not there.
func TestUploadLost(t *testing.T) {
	for _, op := range []blob.Op{blob.OpAppend, blob.OpComplete} {
		f := newFixture(t)
		loc := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202}).Header.Get("Location")
		f.run(step{do: "PATCH " + loc, body: "abc", status: 202})
		f.blobHook.Before = func(c blob.Call) error {
			if c.Op == op {
				return fmt.Errorf("test: %w", blob.ErrLost)
			}
			return nil
		}
		f.run(
			step{do: "PUT " + loc + "&digest=" + sha("abcdef"), body: "def", status: 404, code: CodeUploadUnknown},
			step{do: "GET " + loc, status: 404, code: CodeUploadUnknown},
			step{do: "GET /v2/a/blobs/" + sha("abcdef"), status: 404},
		)
	}
}

// TestUploadConflict: another process moved the upload on meanwhile.
func TestUploadConflict(t *testing.T) {
	f := newFixture(t)
	a := f.run(step{do: "POST /v2/a/blobs/uploads/", status: 202})
	id := a.Header.Get("Docker-Upload-UUID")
	f.blobHook.Before = func(c blob.Call) error {
		f.blobHook.Before = nil
		up, err := f.handler.meta.Upload(t.Context(), "a", id)
		if err == nil {
			_, err = f.handler.meta.SaveUpload(t.Context(), up)
		}
		return err
	}
	f.run(step{do: "PATCH " + a.Header.Get("Location"), body: "abc", status: 409, code: CodeUploadInvalid})
}

// A request on a recorder has no connection and so no read deadline: bodies are
// read all the same, as in a Lambda.
func TestUploadWithoutConnection(t *testing.T) {
	f := newFixture(t)
	w := httptest.NewRecorder()
	f.handler.ServeHTTP(w, httptest.NewRequest("POST", "/v2/a/blobs/uploads/?digest="+sha("abc"), strings.NewReader("abc")))
	if w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
