"""`helm test` runs this: asks every replica behind a Service whether it is ready. Arguments: the Service, its port."""

import socket
import sys
import urllib.error
import urllib.request

service, port = sys.argv[1:]
addresses = {info[4][0] for info in socket.getaddrinfo(service, port, type=socket.SOCK_STREAM)}
failed = False
for address in sorted(addresses):
    host = f"[{address}]" if ":" in address else address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/readyz", timeout=10) as answer:
            print(address, answer.read().decode())
    except urllib.error.HTTPError as refusal:
        failed = True
        print(address, refusal.read().decode())
    except OSError as error:
        failed = True
        print(address, error)
sys.exit(1 if failed else 0)
