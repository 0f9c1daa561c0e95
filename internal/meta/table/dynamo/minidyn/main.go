// Command minidyn serves the DynamoDB stand-in of github.com/truora/minidyn
// for the tests of the dynamo engine. It prints its URL, and ends when its
// standard input does: with the test, however that ends.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/truora/minidyn/server"
)

func main() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "minidyn:", err)
		os.Exit(1)
	}
	fmt.Printf("http://%s\n", l.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Fprintln(os.Stderr, "minidyn:", http.Serve(l, withStatus(server.NewServer())))
	os.Exit(1)
}

// withStatus adds the one thing that minidyn does not say and every client
// waits for: that a table is there to be used.
func withStatus(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DescribeTable") {
			h.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		var body struct{ Table map[string]any }
		raw := answer.Body.Bytes()
		if json.NewDecoder(bytes.NewReader(raw)).Decode(&body) == nil && body.Table != nil {
			body.Table["TableStatus"] = "ACTIVE"
			raw, _ = json.Marshal(body)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(raw)
	})
}
