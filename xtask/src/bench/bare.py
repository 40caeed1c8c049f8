"""The reference: the same libvirt calls over an already open tunnel, hosts in parallel.

bare.py create|remove|read COUNT SOCKET=POOL=BRIDGE ...

`read` reads what a plan must know of every domain there is, and needs no COUNT but one.

Prints the seconds between the first call and the last; connecting and making seeds come before.
"""

import concurrent.futures
import sys
import time

import libvirt

CONNECTIONS = 4
SEED_BYTES = 64 * 1024

DOMAIN = """<domain type='qemu'><name>bare-{n}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features><devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{pool}/bare-{n}'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{pool}/bare-{n}.seed'/>
<target dev='sda' bus='scsi'/><readonly/></disk>
<controller type='scsi' index='0' model='virtio-scsi'/>
<interface type='bridge'><source bridge='{bridge}'/><model type='virtio'/></interface>
</devices></domain>"""

CLONE = """<volume><name>bare-{n}</name><capacity unit='GiB'>1</capacity><target><format type='qcow2'/>
</target><backingStore><path>{image}</path><format type='qcow2'/></backingStore></volume>"""

SEED = """<volume><name>bare-{n}.seed</name><capacity unit='B'>{size}</capacity><target>
<format type='raw'/></target></volume>"""


class Host:
    def __init__(self, text):
        socket, self.pool_path, self.bridge = text.split("=")
        uri = "qemu+unix:///system?socket=" + socket
        self.connections = [libvirt.open(uri) for _ in range(CONNECTIONS)]
        self.pools = [c.storagePoolLookupByName("freehold") for c in self.connections]
        self.pools[0].refresh(0)
        names = [n for n in self.pools[0].listVolumes() if n.startswith("image.")]
        self.image = self.pool_path + "/" + names[0]

    def create(self, worker, numbers):
        connection, pool = self.connections[worker], self.pools[worker]
        content = bytes(SEED_BYTES)
        for n in numbers:
            pool.createXML(CLONE.format(n=n, image=self.image), 0)
            seed = pool.createXML(SEED.format(n=n, size=SEED_BYTES), 0)
            stream = connection.newStream(0)
            seed.upload(stream, 0, SEED_BYTES, 0)
            stream.send(content)
            stream.finish()
            connection.defineXML(DOMAIN.format(n=n, pool=self.pool_path, bridge=self.bridge))

    def read(self, worker, _numbers):
        connection, pool = self.connections[worker], self.pools[worker]
        if worker == 0:
            for network in connection.listAllNetworks():
                network.XMLDesc(libvirt.VIR_NETWORK_XML_INACTIVE)
        if worker == 1:
            pool.listAllVolumes()
        for domain in connection.listAllDomains()[worker::CONNECTIONS]:
            domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            if domain.ID() >= 0:
                domain.XMLDesc()

    def remove(self, worker, numbers):
        connection, pool = self.connections[worker], self.pools[worker]
        for n in numbers:
            connection.lookupByName(f"bare-{n}").undefine()
            pool.storageVolLookupByName(f"bare-{n}").delete(0)
            pool.storageVolLookupByName(f"bare-{n}.seed").delete(0)


def main():
    act, count, hosts = sys.argv[1], int(sys.argv[2]), [Host(text) for text in sys.argv[3:]]
    work = []
    for index, host in enumerate(hosts):
        mine = list(range(index, count, len(hosts)))
        for worker in range(CONNECTIONS):
            work.append((getattr(host, act), worker, mine[worker::CONNECTIONS]))
    with concurrent.futures.ThreadPoolExecutor(len(work)) as pool:
        begun = time.monotonic()
        for future in [pool.submit(call, worker, numbers) for call, worker, numbers in work]:
            future.result()
        print(time.monotonic() - begun)


main()
