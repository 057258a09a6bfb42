package ownwrites

// Unsaved returns how many proven writes wait for Save.
func (m *Memory) Unsaved() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.unsent)
}

// Size is how many writes are remembered at least.
const Size = size
