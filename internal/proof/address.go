package proof

import (
	"fmt"
	"net"
	"sync"
)

// addresses are all that this process gave out. That of a server that does not run now is free,
// and yet taken: somebody else took it, and the server could not start again.
var addresses sync.Map

// FreeAddress returns an address of loopback at which nobody listens, with a port below those that
// the kernel gives to clients: one of these had the port of a server that was killed and should
// start again. next(n) is a random number below n.
func FreeAddress(next func(n int) int) string {
	for {
		address := fmt.Sprintf("127.0.0.1:%d", 10000+next(20000))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		_ = l.Close()
		if _, taken := addresses.LoadOrStore(address, true); !taken {
			return address
		}
	}
}

// LeaveAddress says that an address of FreeAddress is not needed any more.
func LeaveAddress(address string) { addresses.Delete(address) }
