package registry

import "net/http"

// listTags answers a page of the repository's tags in byte order
// (distribution-spec end-8). The cost does not depend on how many there are.
func (h *Handler) listTags(w http.ResponseWriter, r *http.Request, t target) error {
	p, err := parsePage(r.URL.Query(), validTag)
	if err != nil {
		return err
	}
	// n=0 asks for nothing, but still whether the repository is there.
	tags, more, err := h.meta.Tags(r.Context(), t.name, p.last, max(p.n, 1))
	if err != nil {
		return err
	}
	if p.n == 0 || tags == nil {
		tags = []string{} // never null
	}
	if more && len(tags) > 0 {
		p.setNext(w, "/v2/"+t.name+"/tags/list", tags[len(tags)-1], nil)
	}
	w.Header().Set("Cache-Control", "no-store")
	return writeJSON(w, http.StatusOK, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{t.name, tags})
}
