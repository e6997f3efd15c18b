"""The wall around a claw's QEMU: what it sees of this host's files, processes and networks.

QEMU runs in namespaces of its own, which bubblewrap makes: of the files it sees the system's
programs, this claw's disks and the shared folders; of the processes none but its own; of the
networks an empty one. pasta connects that network to the world, behind nftables rules which
close the host and its private networks. A port of the host's loopback that leads into the claw
is a listening socket made on the host and handed to a socat on the other side.

Everything lives in one process namespace whose first process is QEMU: whatever way QEMU ends,
the kernel ends the rest with it.

    network.py    which addresses are closed, as nftables rules; pasta's command line; pure
    sandbox.py    bubblewrap's command lines; pure
    mechanism.py  whether this host has what all this takes
    start.py      makes a walled QEMU, gate closed until all is in place
    relays.py     ports of the host that lead into a running claw, opened and closed
    namespaces.py programs that are started in a claw's namespaces
    helpers.py    which of them there are
"""
