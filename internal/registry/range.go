package registry

import (
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// contentRange is the Content-Range of a chunk: which bytes of the blob the
// body holds.
type contentRange struct {
	start, end int64 // offsets of the first and the last byte
}

func (c contentRange) length() int64 { return c.end - c.start + 1 }

// The spec's form is "0-99" (distribution-spec, "Pushing a blob in chunks").
// HTTP's own, "bytes 0-99/*", is understood too, because generic clients send
// it. Ten-odd digits more than any blob has are no number of ours.
var contentRangeGrammar = regexp.MustCompile(`^(?:bytes[ =])?([0-9]{1,18})-([0-9]{1,18})(?:/(?:\*|[0-9]{1,18}))?$`)

func parseContentRange(s string) (contentRange, error) {
	m := contentRangeGrammar.FindStringSubmatch(s)
	if m == nil {
		return contentRange{}, fail(http.StatusBadRequest, CodeUploadInvalid,
			"the Content-Range %.80q is malformed: send <first byte>-<last byte>, such as 0-99", s)
	}
	// At most 18 digits always fit.
	start, _ := strconv.ParseInt(m[1], 10, 64)
	end, _ := strconv.ParseInt(m[2], 10, 64)
	if end < start {
		return contentRange{}, fail(http.StatusBadRequest, CodeUploadInvalid,
			"the Content-Range %q ends before it starts: both ends are inclusive", s)
	}
	return contentRange{start, end}, nil
}

// rangeOf is the Range header of an upload that has so many bytes. Docker's
// classic push takes the layer's size from it, so it is exact; of an empty
// upload it says 0-0, which is what every registry does.
func rangeOf(size int64) string {
	return "0-" + strconv.FormatInt(max(size-1, 0), 10)
}

// serveContent is [http.ServeContent], which hands a file to the connection
// (sendfile) and knows ranges and preconditions, made to ignore the Ranges that
// RFC 9110, section 14.2, wants ignored: of any method but GET, and in units
// other than bytes. One that cannot be satisfied is answered in the registry's
// own form.
func serveContent(w http.ResponseWriter, r *http.Request, content io.ReadSeeker) {
	if value := r.Header.Get("Range"); value != "" {
		if r.Method == http.MethodGet && strings.HasPrefix(value, "bytes=") && !misreadRange.MatchString(value) {
			w = &rangeWriter{ResponseWriter: w}
		} else {
			// A copy: who serves the handler may want to log the request.
			r = r.WithContext(r.Context())
			r.Header = r.Header.Clone()
			r.Header.Del("Range")
		}
	}
	http.ServeContent(w, r, "", time.Time{}, content)
}

// misreadRange matches what net/http gets wrong: the last 0 bytes it answers
// with 206 and a Content-Range that ends before it starts, and more than it can
// count with 416. Any Range may be ignored, so these are.
var misreadRange = regexp.MustCompile(`[=,]\s*-\s*\+?0+\s*(?:,|$)|[0-9]{19}`)

// rangeWriter goes between ServeContent and the connection where there is a
// Range; the file still goes there directly.
type rangeWriter struct {
	http.ResponseWriter
	refused bool // an error went out; ServeContent's own text is swallowed
}

func (w *rangeWriter) WriteHeader(status int) {
	if status != http.StatusRequestedRangeNotSatisfiable {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.refused = true
	w.Header().Set("Cache-Control", "no-store")
	_ = writeJSON(w.ResponseWriter, status, "application/json", struct {
		Errors []Entry `json:"errors"`
	}{[]Entry{{Code: CodeSizeInvalid, Message: "the requested range is not part of the content: Content-Range tells its size"}}})
}

func (w *rangeWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the way from file to connection open.
func (w *rangeWriter) ReadFrom(r io.Reader) (int64, error) {
	if w.refused {
		return io.Copy(io.Discard, r)
	}
	return io.Copy(w.ResponseWriter, r)
}

// Unwrap is for http.ResponseController.
func (w *rangeWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
