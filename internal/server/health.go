package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/slipway-oci/slipway/internal/meta/table"
)

// healthTimeout is how long the table may take for the health check's read.
const healthTimeout = 2 * time.Second

// healthKey is where the health check reads. There never is an item.
var healthKey = table.Key{PK: "health", SK: "health"}

// breakable is a table that can stop taking writes for good while it goes on
// being read.
type breakable interface {
	// Err returns why, or nil.
	Err() error
}

// health answers /healthz: 200 while the registry works, 503 while it does not
// or is about to stop, so that a balancer sends nobody here.
type health struct {
	table    table.Table
	version  string
	log      *slog.Logger
	draining atomic.Bool
}

func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, code := "ok", http.StatusOK
	if h.draining.Load() {
		status, code = "draining", http.StatusServiceUnavailable
	} else if err := h.broken(); err != nil {
		// The reason goes into the log, here and below: it may tell paths.
		h.log.ErrorContext(r.Context(), "health check: the metadata table takes no more writes", "error", err)
		status, code = "the metadata table takes no more writes: look at the disk and restart the registry", http.StatusServiceUnavailable
	} else if err := h.read(r.Context()); err != nil {
		h.log.ErrorContext(r.Context(), "health check: the metadata table does not answer", "error", err)
		status, code = "the metadata table does not answer", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(struct {
		Status  string `json:"status"`
		Version string `json:"version"`
	}{status, h.version})
}

func (h *health) broken() error {
	if t, ok := h.table.(breakable); ok {
		return t.Err()
	}
	return nil
}

func (h *health) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	_, err := h.table.Get(ctx, healthKey)
	if errors.Is(err, table.ErrNotFound) {
		return nil
	}
	return err
}
