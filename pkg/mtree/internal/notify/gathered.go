package notify

// gathered is what was heard in one directory so far, each name once.
type gathered struct {
	DirEvents
	index map[string]int // of names in Entries, from the moment there are some
}

// searched is how many names are searched one by one, which is faster than a map.
const searched = 8

func (g *gathered) entry(name []byte, arrived bool) {
	i := g.find(name)
	if i < 0 {
		i = len(g.Entries)
		g.Entries = append(g.Entries, Entry{Name: string(name)})
		if g.index != nil {
			g.index[g.Entries[i].Name] = i
		}
	}
	g.Entries[i].Arrived = g.Entries[i].Arrived || arrived
}

// find returns where the name stands in Entries, -1 if it does not.
func (g *gathered) find(name []byte) int {
	if g.index == nil && len(g.Entries) < searched {
		for i := range g.Entries {
			if g.Entries[i].Name == string(name) {
				return i
			}
		}
		return -1
	}
	if g.index == nil {
		g.index = make(map[string]int, 4*searched)
		for i := range g.Entries {
			g.index[g.Entries[i].Name] = i
		}
	}
	if i, ok := g.index[string(name)]; ok {
		return i
	}
	return -1
}
