package server

import (
	"log/slog"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"
)

// The longest pieces of a request that go into the log; what a client makes up
// shall not fill the disk.
const (
	maxLoggedPath  = 512
	maxLoggedValue = 256
)

// harmlessQuery are the query parameters of the API whose values may be
// logged. All others are redacted, whatever they are called: the state that
// signs an upload's Location is as good as a password while it lives.
var harmlessQuery = map[string]bool{
	"artifactType": true,
	"digest":       true,
	"from":         true,
	"last":         true,
	"mount":        true,
	"n":            true,
	"ns":           true,
	"tag":          true,
}

// answered is what the access log tells of one request.
type answered struct {
	request  *http.Request
	route    string
	status   int
	received int64
	sent     int64
	duration time.Duration
	user     string
}

// logAccess writes one line a request. It never logs headers but User-Agent.
func logAccess(log *slog.Logger, a answered) {
	r := a.request
	level := slog.LevelInfo
	switch {
	case a.status >= 500:
		level = slog.LevelError
	case a.route == routeHealth || a.route == routeMetrics:
		level = slog.LevelDebug // every few seconds, for ever
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("method", r.Method),
		slog.String("route", a.route),
		slog.String("path", cut(r.URL.Path, maxLoggedPath)),
	)
	if r.URL.RawQuery != "" {
		attrs = append(attrs, slog.String("query", redactQuery(r.URL.RawQuery)))
	}
	attrs = append(attrs,
		slog.Int("status", a.status),
		slog.Int64("bytes", a.sent),
		slog.Int64("received", a.received),
		slog.Duration("duration", a.duration),
		slog.String("remote", r.RemoteAddr),
		slog.String("user_agent", cut(r.UserAgent(), maxLoggedValue)),
	)
	if a.user != "" {
		attrs = append(attrs, slog.String("user", a.user))
	}
	log.LogAttrs(r.Context(), level, "request", attrs...)
}

// redactQuery returns the query with the values of all but the harmless
// parameters left out.
func redactQuery(raw string) string {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return "unparsable"
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, name := range names {
		for _, v := range values[name] {
			if b.Len() > 0 {
				b.WriteByte('&')
			}
			if b.Len() > maxLoggedPath {
				b.WriteString("...")
				return b.String()
			}
			if !harmlessQuery[name] {
				// The name may be the secret too: a bare ?<state> is a name.
				b.WriteString(redactName(name) + "=redacted")
				continue
			}
			b.WriteString(name + "=" + cut(v, maxLoggedValue))
		}
	}
	return b.String()
}

// redactName keeps a parameter's name only if it is short enough to be one.
func redactName(name string) string {
	if len(name) > 20 {
		return "redacted"
	}
	return name
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "..."
}
