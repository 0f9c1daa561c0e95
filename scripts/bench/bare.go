package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bareCommand is the argument that turns this program into the bare file server.
const bareCommand = "bare-file-server"

// bareServer answers like a registry that has nothing to do: blobs are files served by net/http (sendfile where the
// system has it), the one manifest comes from memory. Whatever the others reach is to be read beside it.
func bareServer(addr, dir string) error {
	raw, err := os.ReadFile(filepath.Join(dir, "manifest"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("bare file server: %w", err)
	}
	header := map[string][]string{
		"Content-Type":          {mediaManifest},
		"Content-Length":        {strconv.Itoa(len(raw))},
		"Docker-Content-Digest": {digestOf(raw)},
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, "/manifests/"):
			h := w.Header()
			for k, v := range header {
				h[k] = v
			}
			if r.Method == http.MethodGet {
				_, _ = w.Write(raw)
			}
		case strings.Contains(r.URL.Path, "/blobs/"):
			http.ServeFile(w, r, filepath.Join(dir, path.Base(r.URL.Path)))
		default:
			w.WriteHeader(http.StatusOK)
		}
	})
	srv := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	go func() {
		<-ctx.Done()
		srv.Close()
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("bare file server: %w", err)
	}
	return nil
}
