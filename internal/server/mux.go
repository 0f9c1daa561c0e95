package server

import (
	"net/http"
	"strings"

	"github.com/slipway-oci/slipway/internal/control"
	"github.com/slipway-oci/slipway/internal/registry"
)

// Addresses of the host itself.
const (
	pathHealth  = "/healthz"
	pathMetrics = "/metrics"
)

// Names of routes in logs and metrics, beside registry.RouteName's.
const (
	routeHealth  = "healthz"
	routeMetrics = "metrics"
	routeControl = "control"
)

// ActionMetrics is what the authorizer is asked for before /metrics answers on
// the address that everybody can reach.
const ActionMetrics registry.Action = "metrics"

// mux finds who answers a request. It is no http.ServeMux because that one
// cleans paths and answers with redirects, where the registry has to refuse.
type mux struct {
	health   http.Handler
	metrics  http.Handler // nil: there are none here
	control  http.Handler
	registry http.Handler
}

func (m *mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch name := hostRoute(r.URL.Path); {
	case name == routeHealth:
		m.health.ServeHTTP(w, r)
	case name == routeMetrics && m.metrics != nil:
		m.metrics.ServeHTTP(w, r)
	case name == routeControl:
		m.control.ServeHTTP(w, r)
	default:
		m.registry.ServeHTTP(w, r)
	}
}

// hostRoute names the route of what the host answers itself, "" for the rest.
func hostRoute(path string) string {
	switch {
	case path == pathHealth:
		return routeHealth
	case path == pathMetrics:
		return routeMetrics
	case strings.HasPrefix(path, control.Prefix):
		return routeControl
	default:
		return ""
	}
}

// routeName names the route of a request; the set of names is bounded.
func routeName(r *http.Request) string {
	if name := hostRoute(r.URL.Path); name != "" {
		return name
	}
	return registry.RouteName(r)
}

// guard asks the authorizer, where there is one, before it lets a request
// through.
func guard(next http.Handler, authorizer registry.Authorizer) http.Handler {
	if authorizer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := authorizer.Authorize(r, registry.Access{Action: ActionMetrics}); err != nil {
			control.WriteError(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}
