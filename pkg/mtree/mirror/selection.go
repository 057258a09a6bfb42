package mirror

import "slices"

// Options that stand among the filters in the tree file.
const (
	selectNoDelete = "no-delete"
	selectNoLinks  = "no-links"
	selectOwner    = "owner"
)

// selection returns what decides which entries a complete copy has. If it changes, a copy
// that was complete no longer is.
func (c *Config) selection() []string {
	all := slices.Clone(c.Filters)
	if c.NoDelete {
		all = append(all, selectNoDelete)
	}
	if c.NoLinks {
		all = append(all, selectNoLinks)
	}
	if c.Owner {
		all = append(all, selectOwner)
	}
	return all
}

// restore sets the options from a selection: it is the inverse of selection.
func (c *Config) restore(selection []string) {
	c.Filters, c.NoDelete, c.NoLinks, c.Owner = nil, false, false, false
	for _, rule := range selection {
		switch rule {
		case selectNoDelete:
			c.NoDelete = true
		case selectNoLinks:
			c.NoLinks = true
		case selectOwner:
			c.Owner = true
		default:
			c.Filters = append(c.Filters, rule)
		}
	}
}
