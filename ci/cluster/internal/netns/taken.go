package netns

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
)

// Taken lists the networks that the host has addresses in or routes to.
func Taken() ([]netip.Prefix, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the host's addresses: %w", err)
	}
	var taken []netip.Prefix
	for _, address := range addresses {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil {
			taken = append(taken, prefix.Masked())
		}
	}
	file, err := os.Open("/proc/net/route")
	if err != nil {
		return nil, fmt.Errorf("list the host's routes: %w", err)
	}
	defer file.Close()
	routes, err := parseRoutes(file)
	if err != nil {
		return nil, fmt.Errorf("list the host's routes: %w", err)
	}
	return append(taken, routes...), nil
}

// parseRoutes reads the kernel's table of IPv4 routes: addresses are hexadecimal, lowest byte first.
func parseRoutes(table io.Reader) ([]netip.Prefix, error) {
	var routes []netip.Prefix
	lines := bufio.NewScanner(table)
	lines.Scan() // the heading
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 {
			return nil, fmt.Errorf("route line %q has %d fields, not 8 or more", lines.Text(), len(fields))
		}
		address, err := parseHex(fields[1])
		if err != nil {
			return nil, err
		}
		mask, err := parseHex(fields[7])
		if err != nil {
			return nil, err
		}
		bits, _ := net.IPMask(mask[:]).Size()
		routes = append(routes, netip.PrefixFrom(netip.AddrFrom4(address), bits))
	}
	return routes, lines.Err()
}

func parseHex(text string) ([4]byte, error) {
	var address [4]byte
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != 4 {
		return address, fmt.Errorf("route address %q is not 8 hexadecimal digits", text)
	}
	binary.LittleEndian.PutUint32(address[:], binary.BigEndian.Uint32(raw))
	return address, nil
}
