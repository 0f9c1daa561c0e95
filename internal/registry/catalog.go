package registry

import "net/http"

// listCatalog answers a page of the names of all repositories. It is Docker's,
// not the spec's. Who may see it sees all names: the Authorizer is asked about
// the catalog, not about each repository in it.
func (h *Handler) listCatalog(w http.ResponseWriter, r *http.Request, _ target) error {
	p, err := parsePage(r.URL.Query(), validName)
	if err != nil {
		return err
	}
	names, more := []string{}, false
	if p.n > 0 {
		if names, more, err = h.meta.Catalog(r.Context(), p.last, p.n); err != nil {
			return err
		}
		if names == nil {
			names = []string{} // never null
		}
	}
	if more && len(names) > 0 {
		p.setNext(w, "/v2/_catalog", names[len(names)-1], nil)
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusOK, "application/json", struct {
		Repositories []string `json:"repositories"`
	}{names})
}
