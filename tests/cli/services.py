"""What Kubernetes tells a container of Services called `wse`, `wse-public`, `wse-cluster`, `wse-dns`."""

from __future__ import annotations

SERVICES = {
    "WSE_SERVICE_HOST": "10.0.0.1",
    "WSE_SERVICE_PORT": "5007",
    "WSE_SERVICE_PORT_WEBSOCKET": "5007",
    "WSE_PORT": "tcp://10.0.0.1:5007",
    "WSE_PORT_5007_TCP": "tcp://10.0.0.1:5007",
    "WSE_PORT_5007_TCP_PROTO": "tcp",
    "WSE_PORT_5007_TCP_PORT": "5007",
    "WSE_PORT_5007_TCP_ADDR": "10.0.0.1",
    "WSE_PUBLIC_SERVICE_HOST": "10.0.0.2",
    "WSE_PUBLIC_SERVICE_PORT": "443",
    "WSE_PUBLIC_PORT": "tcp://10.0.0.2:443",
    "WSE_PUBLIC_PORT_443_TCP": "tcp://10.0.0.2:443",
    "WSE_CLUSTER_PORT": "tcp://[fd00::1]:9999",
    "WSE_CLUSTER_SERVICE_HOST": "fd00::1",
    "WSE_DNS_PORT_53_UDP": "udp://10.0.0.3:53",
}
